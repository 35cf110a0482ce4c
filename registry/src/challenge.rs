//! `WWW-Authenticate`: how a registry wants to be asked.
//!
//! ```text
//! header    = challenge { "," challenge }
//! challenge = scheme [ 1*SP parameter { "," parameter } ]
//! parameter = name "=" ( token | quoted )
//! ```

use reqwest::Url;
use reqwest::header::HeaderMap;
use reqwest::header::WWW_AUTHENTICATE;

/// What is asked for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer { realm: Url, service: Option<String>, scope: Vec<String> },
}

impl std::fmt::Debug for Challenge {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Challenge::Basic => formatter.write_str("Basic"),
            // Its query may hold anything.
            Challenge::Bearer { realm, service, scope } => {
                write!(formatter, "Bearer({:?}, {service:?}, {scope:?})", realm.host_str())
            }
        }
    }
}

/// The best of the challenges that are understood: a token before a password. The error is what cannot be used.
pub(crate) fn read(headers: &HeaderMap) -> Result<Option<Challenge>, String> {
    let mut found = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else { continue };
        for (scheme, parameters) in split(text) {
            if scheme.eq_ignore_ascii_case("basic") {
                found = found.or(Some(Challenge::Basic));
            }
            if !scheme.eq_ignore_ascii_case("bearer") {
                continue;
            }
            let get = |name: &str| {
                parameters.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
            };
            let realm = get("realm").ok_or("asks for a token without saying where")?;
            let realm = Url::parse(&realm).map_err(|_| "asks for a token from something that is not a URL")?;
            let scope = get("scope").unwrap_or_default();
            let scope = scope.split_ascii_whitespace().map(str::to_owned).collect();
            return Ok(Some(Challenge::Bearer { realm, service: get("service"), scope }));
        }
    }
    Ok(found)
}

type Parameters = Vec<(String, String)>;

fn split(text: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '=', '\t']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after_blanks = after.trim_start_matches([' ', '\t']);
        // `name = value` belongs to the challenge before it; anything else begins one.
        if let Some(value) = after_blanks.strip_prefix('=').filter(|_| !word.is_empty()) {
            let (value, after) = take_value(value.trim_start_matches([' ', '\t']));
            if let Some((_, parameters)) = found.last_mut() {
                parameters.push((word.to_owned(), value));
            }
            rest = after;
        } else {
            if !word.is_empty() {
                found.push((word.to_owned(), Vec::new()));
            }
            // An `=` without a name before it is skipped, or there would be no end.
            rest = if word.is_empty() { after.get(1..).unwrap_or_default() } else { after };
        }
        rest = rest.trim_start_matches([' ', ',', '\t']);
    }
    found
}

fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(values: &[&'static str]) -> Result<Option<Challenge>, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, reqwest::header::HeaderValue::from_static(value));
        }
        read(&headers)
    }

    proptest::proptest! {
        #[test]
        fn any_text(text in "[ -~]{0,60}", odd in "[=,\"\\\\ ab]{0,30}") {
            for text in [text, odd] {
                let mut headers = HeaderMap::new();
                headers.append(WWW_AUTHENTICATE, text.parse().unwrap());
                let _ignored = read(&headers);
            }
        }
    }

    #[test]
    fn challenges() {
        let bearer = |service: Option<&str>, scope: &[&str]| {
            Ok(Some(Challenge::Bearer {
                realm: "https://a.b/t".parse().unwrap(),
                service: service.map(str::to_owned),
                scope: scope.iter().map(|text| (*text).to_owned()).collect(),
            }))
        };
        let full = "Bearer realm=\"https://a.b/t\",service=\"x, y\",scope=\"repository:a:pull,push repository:b:pull\"";
        assert_eq!(read_all(&[full]), bearer(Some("x, y"), &["repository:a:pull,push", "repository:b:pull"]));
        assert_eq!(read_all(&["bearer  realm = https://a.b/t , service=s"]), bearer(Some("s"), &[]));
        assert_eq!(read_all(&["Basic realm=\"x\"", "Bearer realm=\"https://a.b/t\""]), bearer(None, &[]));
        assert_eq!(read_all(&["Basic realm=x, Bearer realm=\"https://a.b/t\""]), bearer(None, &[]));
        assert_eq!(read_all(&["Negotiate, Basic"]), Ok(Some(Challenge::Basic)));
        for none in [&[][..], &["Negotiate"], &["=,= ==\"\\"], &[""], &[",,,"]] {
            assert_eq!(read_all(none), Ok(None), "{none:?}");
        }
        assert!(read_all(&["Bearer service=x"]).is_err());
        assert!(read_all(&["Bearer realm=\"not a url\""]).is_err());
    }
}
