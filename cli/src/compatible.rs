//! Flags of other builders that ask for what bld does anyway. Any other value of theirs is refused.

use clap::Args;

use crate::error::CommandError;

/// What `bld build --help` ends with.
pub(crate) const HELP: &str = "Accepted because bld does so anyway: --rm, --force-rm, --layers, --provenance=false, \
                               --sbom=false. --load also hands the \
                               image to docker or podman, if one is there.";

/// The flags, hidden from the list.
#[derive(Debug, Default, Args)]
pub(crate) struct CompatibleArgs {
    /// Nothing is left of a step but its layer.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rm: Option<String>,

    /// The same when a step fails.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    force_rm: Option<String>,

    /// Every step is a layer, and is cached.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    layers: Option<String>,

    /// No attestation is written.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    provenance: Option<String>,

    /// The same.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sbom: Option<String>,

    /// The image goes to the local store, whatever else is written.
    #[arg(long, hide = true)]
    pub(crate) load: bool,
}

impl CompatibleArgs {
    /// Refuses what bld does not do.
    pub(crate) fn check(&self) -> Result<(), CommandError> {
        let kept = "steps always leave their layer, which is the cache, and nothing else";
        let attestations = "bld writes no attestations";
        let yes: &[&str] = &["true", "1"];
        let no: &[&str] = &["false", "0"];
        for (flag, value, accepted, reason) in [
            ("--rm", &self.rm, yes, kept),
            ("--force-rm", &self.force_rm, yes, kept),
            ("--layers", &self.layers, yes, "every step is a layer of its own"),
            ("--provenance", &self.provenance, no, attestations),
            ("--sbom", &self.sbom, no, attestations),
        ] {
            let Some(value) = value else { continue };
            if accepted.contains(&value.to_ascii_lowercase().as_str()) {
                continue;
            }
            let shown = if value == "true" { flag.to_owned() } else { format!("{flag}={value}") };
            let error = CommandError::usage(format!("`{shown}` is not supported: {reason}"));
            return Err(error.hint(format!("`{flag}={}` is what bld does", accepted.first().unwrap_or(&""))));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args::Cli;
    use crate::args::Command;

    fn check(flags: &[&str]) -> Result<(), String> {
        let arguments = ["bld", "build"].iter().chain(flags).chain(&["."]);
        let Command::Build(args) = Cli::try_parse_from(arguments).unwrap().command else { panic!("a build") };
        args.compatible.check().map_err(|error| error.to_text())
    }

    #[test]
    fn what_bld_does_anyway_may_be_asked_for() {
        let flags = ["--rm", "--force-rm=true", "--layers", "--provenance=false", "--sbom=false", "--load"];
        assert_eq!(check(&flags), Ok(()));
        for flag in ["--rm=false", "--layers=false", "--provenance=mode=max", "--sbom"] {
            let said = check(&[flag]).unwrap_err();
            assert!(said.contains(&format!("`{flag}` is not supported")) && said.contains("hint"), "{said}");
        }
    }
}
