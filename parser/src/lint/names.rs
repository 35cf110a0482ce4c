//! What names give away: ReservedStageName, SecretsUsedInArgOrEnv, InvalidDefinitionDescription.

use crate::ast::From;
use crate::ast::Instruction;
use crate::ast::Text;
use crate::directive;
use crate::joined::Slice;
use crate::sink::Sink;
use crate::source::Span;

/// Names that FROM and `--from` never look up among the stages.
const RESERVED: [&str; 2] = ["context", "scratch"];

/// Parts of names that hold something nobody else should see.
const SECRET: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "passwd", "password", "pword", "secret", "token"];

/// Parts of names that hold something about a secret.
const HARMLESS: [&str; 3] = ["file", "public", "version"];

/// A stage nobody can refer to.
pub(super) fn reserved(from: &From, sink: &mut Sink) {
    let Some(name) = from.name.as_ref().filter(|name| RESERVED.contains(&name.value.as_str())) else { return };
    let message = format!("the stage name `{}` is reserved", name.value);
    sink.warning("ReservedStageName", name.span, message, format!("write another name, like `{}-stage`", name.value));
}

/// What ARG and ENV hold stays in the image: in its history or its environment.
pub(super) fn secrets(instruction: &Instruction, sink: &mut Sink) {
    let (kind, names): (&str, Vec<(&str, Span)>) = match instruction {
        Instruction::Env(pairs) => {
            ("ENV", pairs.pairs.iter().map(|(name, _)| (name.raw.as_str(), name.span)).collect())
        }
        Instruction::Arg(arg) => {
            ("ARG", arg.declarations.iter().map(|one| (one.name.value.as_str(), one.name.span)).collect())
        }
        _ => return,
    };
    for (name, span) in names.into_iter().filter(|(name, _)| is_secret(name)) {
        let raw = name.trim_matches(['"', '\'']);
        let message = format!("sensitive data should not be in ARG or ENV ({kind} `{raw}`)");
        let hint = format!(
            "everybody who has the image can read it: hand it to the step with `RUN --mount=type=secret,id={}`",
            raw.to_lowercase()
        );
        sink.warning("SecretsUsedInArgOrEnv", span, message, hint);
    }
}

/// Whether a variable of this name most likely holds a secret.
pub fn is_secret(name: &str) -> bool {
    let has = |words: &[&str]| {
        let mut parts = name.trim_matches(['"', '\'']).split('_');
        parts.any(|part| words.iter().any(|word| part.eq_ignore_ascii_case(word)))
    };
    has(&SECRET) && !has(&HARMLESS)
}

/// A comment above a stage or an argument describes it if it begins with its name.
pub(super) fn description(keyword: Slice<'_>, names: &[&str], comments: &[Text], sink: &mut Sink) {
    let first = |comment: &Text| comment.value.split_whitespace().next().unwrap_or_default().to_owned();
    let is_check = |comment: &Text| directive::comment_value(&format!("#{}", comment.value)).is_some();
    if comments.iter().all(is_check) {
        return;
    }
    let Some(name) = names.first().filter(|_| !comments.iter().any(|comment| names.contains(&&*first(comment)))) else {
        return;
    };
    let name = if names.len() > 1 { "NAME" } else { name };
    let kind = keyword.text().to_ascii_uppercase();
    let message = format!("the comment above {kind} should be of the form `# {name} DESCRIPTION`");
    let hint = "if it is not meant to describe it, put an empty comment, a lone `#`, between the two";
    sink.warning("InvalidDefinitionDescription", keyword.span(), message, hint);
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn words_that_give_secrets_away() {
        for name in ["API_KEY", "apikey", "DATABASE_PASSWORD", "GITHUB_TOKEN", "secret_MESSAGE", "AUTH", "\"TOKEN\""] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["KEYBOARD", "monkey", "TOKEN_FILE", "PUBLIC_KEY", "SECRET_VERSION", "AUTHOR", ""] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
