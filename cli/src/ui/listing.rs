//! Lists as docker prints them: a table, JSON lines, or whatever a template says.

use super::table;
use crate::error::CommandError;
use crate::template::Field;
use crate::template::Template;
use crate::template::TemplateError;
use crate::template::Value;

/// The form of a list.
#[derive(Debug)]
pub(crate) enum ListFormat {
    /// Columns under headings; tabs stand between the cells.
    Table(Template),
    /// One JSON object for each row.
    Json,
    /// One line for each row.
    Lines(Template),
}

impl ListFormat {
    /// Reads `--format`; `standard` is the template of the table that is shown without it.
    pub(crate) fn parse(given: Option<&str>, standard: &str) -> Result<ListFormat, CommandError> {
        let given = given.map(str::trim).filter(|given| !given.is_empty()).unwrap_or("table");
        let template = |text: &str| Template::parse(&unescaped(text)).map_err(|error| refused(given, &error));
        if given == "json" {
            return Ok(ListFormat::Json);
        }
        if given == "raw" {
            return Err(CommandError::usage("`--format raw` is not supported").hint("write --format json"));
        }
        Ok(match given.strip_prefix("table") {
            Some("") => ListFormat::Table(template(standard)?),
            Some(rest) if rest.starts_with(char::is_whitespace) || rest.starts_with('{') || rest.starts_with("\\t") => {
                ListFormat::Table(template(rest.trim_start())?)
            }
            _ => ListFormat::Lines(template(given)?),
        })
    }

    /// The text of the list. `headings` has all fields that a row has.
    pub(crate) fn render(&self, headings: &[(&str, &str)], rows: &[Value]) -> Result<String, CommandError> {
        let refused = |error: &TemplateError| CommandError::usage(format!("`--format`: {error}"));
        let mut out = String::new();
        match self {
            ListFormat::Json => {
                for row in rows {
                    out.push_str(&serde_json::to_string(row)?);
                    out.push('\n');
                }
            }
            ListFormat::Lines(template) => {
                for row in rows {
                    out.push_str(&template.render(row).map_err(|error| refused(&error))?);
                    out.push('\n');
                }
                // A template that no row was put to may be wrong nevertheless.
                template.render_headings(&heading(headings)).map_err(|error| refused(&error))?;
            }
            ListFormat::Table(template) => {
                let cells = |line: String| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
                let mut lines =
                    vec![cells(template.render_headings(&heading(headings)).map_err(|error| refused(&error))?)];
                for row in rows {
                    lines.push(cells(template.render(row).map_err(|error| refused(&error))?));
                }
                out = table::docker(&lines);
            }
        }
        Ok(out)
    }
}

fn heading(headings: &[(&str, &str)]) -> Value {
    Value::Struct(headings.iter().map(|(field, heading)| Field::new(field, *heading)).collect())
}

fn refused(given: &str, error: &TemplateError) -> CommandError {
    CommandError::usage(format!("`--format {given}`: {error}"))
}

/// `\t` and `\n` as they are typed in a shell.
fn unescaped(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADINGS: [(&str, &str); 2] = [("ID", "IMAGE ID"), ("Tag", "TAG")];

    fn rendered(format: Option<&str>) -> Result<String, String> {
        let row = |id: &str, tag: &str| Value::Struct(vec![Field::new("ID", id), Field::new("Tag", tag)]);
        let rows = [row("2a18fae464ac", "1"), row("882ce0703e99", "<none>")];
        let format = ListFormat::parse(format, "{{.ID}}\t{{.Tag}}").map_err(|error| error.to_text())?;
        format.render(&HEADINGS, &rows).map_err(|error| error.to_text())
    }

    #[test]
    fn forms() {
        for (format, expected) in [
            (None, "IMAGE ID       TAG\n2a18fae464ac   1\n882ce0703e99   <none>\n"),
            (Some("table"), "IMAGE ID       TAG\n2a18fae464ac   1\n882ce0703e99   <none>\n"),
            (Some("table {{.Tag}}\\t{{.ID}}"), "TAG       IMAGE ID\n1         2a18fae464ac\n<none>    882ce0703e99\n"),
            (Some("table {{lower .ID}}"), "IMAGE ID\n2a18fae464ac\n882ce0703e99\n"),
            (Some("{{.ID}}:{{.Tag}}"), "2a18fae464ac:1\n882ce0703e99:<none>\n"),
            (Some("{{.Tag}}\\n"), "1\n\n<none>\n\n"),
            (Some("json"), "{\"ID\":\"2a18fae464ac\",\"Tag\":\"1\"}\n{\"ID\":\"882ce0703e99\",\"Tag\":\"<none>\"}\n"),
            (Some("tables"), "tables\ntables\n"),
        ] {
            assert_eq!(rendered(format).as_deref(), Ok(expected), "{format:?}");
        }
        for (format, expected) in [
            ("{{.Size}}", "error: `--format`: there is no field `.Size`: there are .ID, .Tag"),
            ("{{.ID", "error: `--format {{.ID`: at character 1"),
            ("raw", "`--format raw` is not supported"),
        ] {
            let said = rendered(Some(format)).unwrap_err();
            assert!(said.contains(expected), "{said}");
        }
    }
}
