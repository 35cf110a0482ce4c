//! Where spans go, as OpenTelemetry's variables say.
//!
//! | variable | meaning |
//! |---|---|
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | the collector; `/v1/traces` is added |
//! | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` | the whole URL; wins |
//! | `OTEL_EXPORTER_OTLP_[TRACES_]HEADERS` | `name=value,...`, values percent-encoded |
//! | `OTEL_EXPORTER_OTLP_[TRACES_]TIMEOUT` | milliseconds; 2000 |
//! | `OTEL_EXPORTER_OTLP_[TRACES_]PROTOCOL` | `http/json`; `http/protobuf` is answered with it, `grpc` is not |
//! | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | who says it |
//! | `TRACEPARENT` | the span that the build is a part of |
//! | `OTEL_SDK_DISABLED=true`, `OTEL_TRACES_EXPORTER=none` | nothing is sent |

use std::fmt;
use std::time::Duration;

/// How long a collector is waited for, unless the environment says otherwise; and the longest that it may say.
const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_TIMEOUT: Duration = Duration::from_secs(10);

/// What spans are made with, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Telemetry {
    /// `service.name`.
    pub(super) service: String,
    /// Further attributes of the resource.
    pub(super) resource: Vec<(String, String)>,
    /// The span that the build is a part of.
    pub(super) parent: Option<Parent>,
    /// Who gets them; `None` if nobody can.
    pub(crate) collector: Option<Collector>,
    /// What of the environment is not done as it says.
    pub(crate) notes: Vec<String>,
}

/// A span of somebody else, ids in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace: String,
    pub(super) span: String,
}

/// A collector.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Collector {
    /// Where.
    pub(crate) url: String,
    /// What it is told beside the spans: tokens, often.
    pub(crate) headers: Vec<(String, String)>,
    /// How long it is waited for.
    pub(crate) timeout: Duration,
}

impl fmt::Debug for Collector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URLs and headers may hold passwords.
        formatter.debug_struct("Collector").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Telemetry {
    /// As the variables say; `None` if no collector is named.
    pub(crate) fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Option<Telemetry> {
        let variable =
            |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let either = |name: &str| {
            variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
                .or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        let url = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| {
            let base = variable("OTEL_EXPORTER_OTLP_ENDPOINT")?;
            Some(format!("{}/v1/traces", base.trim_end_matches('/')))
        });
        let url = url.filter(|_| !is_off)?;
        let mut notes = Vec::new();
        let mut collector = Some(Collector {
            url,
            headers: either("HEADERS").map(|text| pairs(&text)).unwrap_or_default(),
            timeout: TIMEOUT,
        });
        if let (Some(text), Some(collector)) = (either("TIMEOUT"), &mut collector) {
            match text.parse() {
                Ok(milliseconds) if milliseconds > 0 => {
                    collector.timeout = Duration::from_millis(milliseconds).min(MAX_TIMEOUT);
                }
                _ => notes
                    .push("OTEL_EXPORTER_OTLP_TIMEOUT is no number of milliseconds: spans wait 2 seconds".to_owned()),
            }
        }
        match either("PROTOCOL").as_deref() {
            None | Some("http/json") => {}
            Some("http/protobuf") => notes.push(
                "OTEL_EXPORTER_OTLP_PROTOCOL is `http/protobuf`: spans are sent to the same place as http/json, which is what bld speaks"
                    .to_owned(),
            ),
            Some(other) => {
                notes.push(format!(
                    "OTEL_EXPORTER_OTLP_PROTOCOL is `{other}`: no spans are sent, as bld speaks http/json, mostly on port 4318"
                ));
                collector = None;
            }
        }
        for name in ["CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"] {
            if either(name).is_some() {
                notes.push(format!(
                    "OTEL_EXPORTER_OTLP_{name} is not supported: the certificates of the machine are used"
                ));
            }
        }
        let resource = variable("OTEL_RESOURCE_ATTRIBUTES").map(|text| pairs(&text)).unwrap_or_default();
        let named = resource.iter().find(|(key, _)| key == "service.name").map(|(_, value)| value.clone());
        let resource: Vec<_> = resource
            .into_iter()
            .filter(|(key, _)| !matches!(key.as_str(), "service.name" | "service.version"))
            .collect();
        let service = variable("OTEL_SERVICE_NAME").or(named).unwrap_or_else(|| "bld".to_owned());
        let parent = variable("TRACEPARENT").and_then(|text| Parent::parse(&text));
        Some(Telemetry { service, resource, parent, collector, notes })
    }
}

impl Parent {
    /// `00-<32 hex digits>-<16 hex digits>-01`; none of them is all zeros.
    fn parse(text: &str) -> Option<Parent> {
        let mut fields = text.split('-');
        let (version, trace, span, _flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let is_id = |text: &str, length: usize| {
            text.len() == length
                && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
                && text.bytes().any(|byte| byte != b'0')
        };
        let is_known = version != "ff" && version.len() == 2;
        (is_known && is_id(trace, 32) && is_id(span, 16))
            .then(|| Parent { trace: trace.to_owned(), span: span.to_owned() })
    }
}

/// `name=value,name=value`, percent-encoded.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let name = decoded(name.trim());
        (!name.is_empty()).then(|| (name, decoded(value.trim())))
    };
    text.split(',').filter_map(pair).collect()
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = text.get(at + 1..at + 3).filter(|digits| *byte == b'%' && !digits.starts_with('+'));
        let encoded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(encoded.unwrap_or(*byte));
        at += if encoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telemetry(variables: &[(&str, &str)]) -> Option<Telemetry> {
        let known =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Telemetry::from_variables(&known)
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318/");

    #[test]
    fn no_collector_no_spans() {
        assert_eq!(telemetry(&[]), None);
        assert_eq!(telemetry(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), None);
        assert_eq!(telemetry(&[ENDPOINT, ("OTEL_SDK_DISABLED", "True")]), None);
        assert_eq!(telemetry(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), None);
        assert!(telemetry(&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")]).is_some());
    }

    #[test]
    fn the_variables_of_traces_win() {
        let plain = telemetry(&[ENDPOINT]).unwrap();
        let collector = plain.collector.unwrap();
        assert_eq!((collector.url.as_str(), collector.timeout), ("http://localhost:4318/v1/traces", TIMEOUT));
        assert_eq!((plain.service.as_str(), plain.parent, plain.notes), ("bld", None, Vec::new()));
        let given = telemetry(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector.example/x"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=Bearer%20a%3Db%2C, x-team = build ,broken,%zz=%+1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=ci,deployment.environment=eu%20west"),
        ])
        .unwrap();
        let collector = given.collector.unwrap();
        assert_eq!(collector.url, "https://collector.example/x");
        assert_eq!(collector.timeout, Duration::from_millis(500));
        let headers: Vec<_> = collector.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(headers, [("authorization", "Bearer a=b,"), ("x-team", "build"), ("%zz", "%+1")]);
        assert!(!format!("{collector:?}").contains("Bearer"));
        assert_eq!((given.service.as_str(), given.resource.len()), ("ci", 1));
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let grpc = telemetry(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap();
        assert!(grpc.collector.is_none() && grpc.notes.len() == 1, "{grpc:?}");
        let protobuf = telemetry(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")]).unwrap();
        assert!(protobuf.collector.is_some() && protobuf.notes.len() == 1, "{protobuf:?}");
        for text in ["soon", "0", "-1"] {
            let odd = telemetry(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_TIMEOUT", text)]).unwrap();
            assert_eq!((odd.notes.len(), odd.collector.unwrap().timeout), (1, TIMEOUT));
        }
        let long = telemetry(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000")]).unwrap();
        assert_eq!(long.collector.unwrap().timeout, MAX_TIMEOUT);
    }

    #[test]
    fn a_parent_is_as_the_recommendation_has_it() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = Parent::parse(good).unwrap();
        assert_eq!((parent.trace.len(), parent.span.as_str()), (32, "b7ad6b7169203331"));
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033-01",
        ] {
            assert_eq!(Parent::parse(bad), None, "{bad}");
        }
    }
}
