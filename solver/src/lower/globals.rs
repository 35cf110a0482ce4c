//! Variables that FROM lines see: platform arguments and the ARGs before the first FROM.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use bld_oci::platform::Platform;
use bld_parser::ast::Dockerfile;
use bld_parser::source::Span;

use super::LowerRequest;
use super::epoch::NamedTime;
use super::report::Report;
use super::words;
use super::words::Variables;

/// Build arguments every RUN gets without asking, and without their values entering its key.
pub(super) const PROXIES: [(&str, &str); 5] = [
    ("HTTP_PROXY", "http_proxy"),
    ("HTTPS_PROXY", "https_proxy"),
    ("FTP_PROXY", "ftp_proxy"),
    ("NO_PROXY", "no_proxy"),
    ("ALL_PROXY", "all_proxy"),
];

/// The value of `SOURCE_DATE_EPOCH` that stands for the time of the build context. A local directory has none: then it is empty.
const CONTEXT_TIME: &str = "context";

/// The variables, and who declared them.
#[derive(Debug)]
pub(super) struct Globals {
    values: BTreeMap<String, String>,
    /// Names of the ARGs before the first FROM.
    names: Arc<BTreeSet<String>>,
    /// `--build-arg`, with what the request implies.
    build_args: BTreeMap<String, String>,
    /// Names that ARG declared anywhere, or that need no declaration.
    declared: BTreeSet<String>,
    /// The value of `SOURCE_DATE_EPOCH`, if it was given or declared.
    epoch: Option<i64>,
    /// The same if it is a name, and where it was given.
    epoch_name: Option<(String, Span)>,
}

impl Globals {
    /// `named` is what a name stands for that `SOURCE_DATE_EPOCH` is set to.
    pub(super) fn new(
        dockerfile: &Dockerfile,
        request: &LowerRequest,
        named: Option<&NamedTime>,
        report: &mut Report,
    ) -> Globals {
        let mut build_args = request.build_args.clone();
        if let Some(epoch) = request.source_date_epoch {
            build_args.entry("SOURCE_DATE_EPOCH".to_owned()).or_insert_with(|| epoch.to_string());
        }
        let dated = |name: &str, value: String| {
            let time = match named {
                _ if name != "SOURCE_DATE_EPOCH" => return value,
                _ if value == CONTEXT_TIME => request.context_time,
                Some(named) if value == named.name => named.time,
                _ => return value,
            };
            time.map(|time| time.to_string()).unwrap_or_default()
        };
        if let Some(epoch) = build_args.get_mut("SOURCE_DATE_EPOCH") {
            *epoch = dated("SOURCE_DATE_EPOCH", std::mem::take(epoch));
        }
        let mut globals = Globals {
            values: BTreeMap::new(),
            names: Arc::default(),
            build_args,
            declared: BTreeSet::new(),
            epoch: request.source_date_epoch,
            epoch_name: None,
        };
        for (name, value) in platform_arguments(request) {
            let value = globals.build_args.get(&name).cloned().unwrap_or(value);
            globals.declared.insert(name.clone());
            globals.values.insert(name, value);
        }
        if let Some(epoch) = globals.build_args.get("SOURCE_DATE_EPOCH").cloned() {
            globals.set_epoch(&epoch, Span::new(0, 0), report);
        }
        let escape = dockerfile.directives.escape;
        for instruction in &dockerfile.global_args {
            for declaration in &instruction.declarations {
                let default = declaration.default.as_ref().map(|word| words::expand(report, word, escape, &globals));
                let name = declaration.name.value.clone();
                let value = globals.build_args.get(&name).cloned().or(default.flatten());
                let value = value.map(|value| dated(&name, value));
                if name == "SOURCE_DATE_EPOCH"
                    && let Some(value) = &value
                {
                    globals.set_epoch(
                        value,
                        declaration.default.as_ref().map_or(declaration.name.span, |word| word.span),
                        report,
                    );
                }
                if let Some(value) = value {
                    globals.values.insert(name.clone(), value);
                }
                globals.declared.insert(name.clone());
                Arc::make_mut(&mut globals.names).insert(name);
            }
        }
        globals
    }

    /// `--build-arg NAME=`.
    pub(super) fn build_arg(&self, name: &str) -> Option<&str> {
        self.build_args.get(name).map(String::as_str)
    }

    pub(super) fn declare(&mut self, name: &str) {
        self.declared.insert(name.to_owned());
    }

    /// Build arguments that nothing declares and that mean nothing by themselves.
    pub(super) fn unused(&self) -> Vec<String> {
        let is_proxy = |name: &str| PROXIES.iter().any(|(upper, lower)| name == *upper || name == *lower);
        let means_something =
            |name: &str| name == "SOURCE_DATE_EPOCH" || name.starts_with("BUILDKIT_") || is_proxy(name);
        self.build_args
            .keys()
            .filter(|name| !self.declared.contains(*name) && !means_something(name))
            .cloned()
            .collect()
    }

    /// Whether every build has this variable, asked for or not: the platforms and the like.
    pub(super) fn is_predefined(&self, name: &str) -> bool {
        self.values.contains_key(name) && !self.names.contains(name)
    }

    /// Every name that was declared, or needs no declaration.
    pub(super) fn declared_names(&self) -> impl Iterator<Item = &str> {
        self.declared.iter().map(String::as_str)
    }

    /// Names of the ARGs before the first FROM.
    pub(super) fn global_names(&self) -> Arc<BTreeSet<String>> {
        Arc::clone(&self.names)
    }

    pub(super) fn epoch(&self) -> Option<i64> {
        self.epoch
    }

    /// The value of `SOURCE_DATE_EPOCH`, if it is a name that was not looked up.
    pub(super) fn epoch_name(&self) -> Option<(&str, Span)> {
        self.epoch_name.as_ref().map(|(name, span)| (name.as_str(), *span))
    }

    fn set_epoch(&mut self, value: &str, span: Span, report: &mut Report) {
        (self.epoch, self.epoch_name) = (None, None);
        if let Ok(epoch) = value.parse() {
            self.epoch = Some(epoch);
        } else if !value.is_empty() {
            let message = format!("`SOURCE_DATE_EPOCH` must be a number of seconds, not `{value}`");
            report.error("InvalidEpoch", span, message, None);
            self.epoch_name = Some((value.to_owned(), span));
        }
    }
}

impl Variables for Globals {
    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn is_declared(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn names(&self) -> Vec<&str> {
        self.values.keys().map(String::as_str).collect()
    }

    fn hint(&self, name: &str) -> Option<String> {
        let is_behind = self.declared.contains(name) && !self.names.contains(name);
        is_behind.then(|| format!("FROM sees no ARG that stands behind a FROM: move `ARG {name}` before the first one"))
    }

    fn declaration(&self, name: &str) -> String {
        format!("declare it before the first FROM: `ARG {name}=VALUE`")
    }

    fn undefined(&self, name: &str) -> (&'static str, String) {
        ("UndefinedArgInFrom", format!("FROM argument `{name}` is not declared"))
    }
}

fn platform_arguments(request: &LowerRequest) -> Vec<(String, String)> {
    let mut arguments = Vec::new();
    for (prefix, platform) in [("TARGET", &request.platform), ("BUILD", &request.build_platform)] {
        let Platform { os, architecture, variant } = platform;
        let parts = [
            ("PLATFORM", platform.to_string()),
            ("OS", os.clone()),
            ("OSVERSION", String::new()),
            ("ARCH", architecture.clone()),
            ("VARIANT", variant.clone().unwrap_or_default()),
        ];
        arguments.extend(parts.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)));
    }
    let stage = request.target.clone().unwrap_or_else(|| "default".to_owned());
    arguments.push(("TARGETSTAGE".to_owned(), stage));
    arguments
}
