//! The build checks: their stable names, what each asks for, and how it is treated.
//!
//! Names and meaning of those that docker's own builder has too are the same there; the rest is bld's own.

/// A build check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// What `# check=skip=` calls it.
    pub name: &'static str,
    /// What it asks for, in a sentence.
    pub description: &'static str,
    /// Who reports it, and who wants to hear it.
    pub kind: Kind,
}

/// How a check is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Always reported.
    Normal,
    /// Reported where `# check=experimental=` asks for it.
    Experimental,
    /// A silent trap: `--strict` makes an error of it.
    Trap,
}

/// The check of that name.
pub fn find(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}

/// All checks, by name.
pub const RULES: [Rule; 28] = [
    rule("ConsistentInstructionCasing", "All instructions are written in the same case, upper or lower"),
    rule("CopyIgnoredFile", "COPY and ADD do not name files that the ignore file excludes"),
    rule("DuplicateStageName", "Every stage has a name of its own"),
    trap("EmptyWildcard", "A wildcard of COPY or ADD matches at least one file"),
    rule("ExposeInvalidFormat", "EXPOSE names neither an address nor a port of the host"),
    rule("ExposeProtoCasing", "The protocol in EXPOSE is in lower case"),
    rule("FromAsCasing", "`AS` is written in the case of its `FROM`"),
    rule("FromPlatformFlagConstDisallowed", "FROM --platform takes a variable, not a constant"),
    rule("InvalidBaseImagePlatform", "The base image has the platform that is built for"),
    rule("InvalidCheck", "`# check=` holds options and rules that exist"),
    rule("InvalidDefaultArgInFrom", "With the defaults of its ARGs, FROM names a valid image"),
    Rule {
        name: "InvalidDefinitionDescription",
        description: "A comment right above FROM or ARG begins with the name it describes",
        kind: Kind::Experimental,
    },
    rule("InvalidUtf8", "Comments are UTF-8 like everything else"),
    rule("JSONArgsRecommended", "CMD and ENTRYPOINT are JSON arrays, so that signals reach the program"),
    trap("JsonLookingShellForm", "What looks like a JSON array is one"),
    rule("LegacyKeyValueFormat", "ENV and LABEL are written with `=`"),
    rule("MaintainerDeprecated", "A label names the author instead of MAINTAINER"),
    rule("MultipleInstructionsDisallowed", "A stage has one CMD, one ENTRYPOINT and one HEALTHCHECK at most"),
    rule("NoEmptyContinuation", "A continued instruction has no empty lines"),
    rule("RedundantTargetPlatform", "FROM --platform does not repeat the default, $TARGETPLATFORM"),
    rule("ReservedStageName", "No stage is called `scratch` or `context`"),
    rule("SecretsUsedInArgOrEnv", "ARG and ENV hold no secrets"),
    rule("StageNameCasing", "Names of stages are in lower case"),
    trap("TrailingComment", "A comment has a line of its own"),
    trap("UndefinedArgInFrom", "FROM uses ARGs that are declared"),
    trap("UndefinedVar", "Variables are defined before they are used"),
    trap("UnusedBuildArg", "Every --build-arg is declared by some ARG"),
    rule("WorkdirRelativePath", "The first WORKDIR of a stage is absolute"),
];

const fn rule(name: &'static str, description: &'static str) -> Rule {
    Rule { name, description, kind: Kind::Normal }
}

const fn trap(name: &'static str, description: &'static str) -> Rule {
    Rule { name, description, kind: Kind::Trap }
}

#[cfg(test)]
mod tests {
    use super::RULES;
    use super::find;

    #[test]
    fn names_are_sorted() {
        assert!(RULES.is_sorted_by(|left, right| left.name < right.name));
        assert_eq!(find("UndefinedVar").unwrap().name, "UndefinedVar");
        assert!(find("undefinedvar").is_none());
    }
}
