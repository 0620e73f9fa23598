//! What `--format` takes: `table`, `table TEMPLATE`, `json`, or a Go template per row.

use std::collections::HashMap;

use gtmpl::error::{ExecError, TemplateError};
use gtmpl::{Context, FuncError, Template, Value};
use serde_json::Value as Json;

use super::{table, values};
use crate::error::{CommandError, Result};

/// How rows are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table of these fields.
    Columns(&'static [&'static str]),
    /// A table with these cells.
    Table(String),
    /// One JSON object per line.
    Json,
    /// A template per row.
    Template(String),
}

impl Format {
    /// Reads a `--format` value; `columns` are those of a plain `table`.
    pub fn parse(text: &str, columns: &'static [&'static str]) -> Self {
        match text.strip_prefix("table") {
            Some(template) if template.trim().is_empty() => Self::Columns(columns),
            Some(template) => Self::Table(unescape(template.trim())),
            None if text == "json" => Self::Json,
            None => Self::Template(unescape(text)),
        }
    }

    /// Whether rows become a table.
    pub fn is_table(&self) -> bool {
        matches!(self, Self::Columns(_) | Self::Table(_))
    }
}

fn unescape(template: &str) -> String {
    template.replace("\\t", "\t").replace("\\n", "\n")
}

/// Renders `rows`, which are objects; `headers` are the column titles of their fields.
pub fn render(format: &Format, headers: &[(&str, &str)], rows: &[Json]) -> Result<String> {
    match format {
        Format::Json => rows
            .iter()
            .map(|row| json_line(row).map(|line| line + "\n"))
            .collect(),
        Format::Template(template) => {
            let template = parse(template, ROW_FUNCTIONS)?;
            rows.iter().map(|row| render_row(&template, row)).collect()
        }
        Format::Columns(columns) => Ok(table::align(&plain(columns, headers, rows), table::TABLE)),
        Format::Table(text) => {
            let header = parse(text, HEADER_FUNCTIONS)?;
            let titles = headers
                .iter()
                .map(|(field, title)| ((*field).to_owned(), Value::from(*title)));
            let mut lines = execute(&header, Value::Map(titles.collect()))? + "\n";
            let template = parse(text, ROW_FUNCTIONS)?;
            for row in rows {
                lines.push_str(&render_row(&template, row)?);
            }
            Ok(table::align(&lines, table::TABLE))
        }
    }
}

/// The cells of a plain table, without the template engine: that reads a template on a thread of its own, which takes
/// longer than all else that a listing does after its last answer.
fn plain(columns: &[&str], headers: &[(&str, &str)], rows: &[Json]) -> String {
    let title = |column: &&str| {
        let known = headers.iter().find(|(field, _)| field == column);
        known.map_or("", |(_, title)| title)
    };
    let mut lines = columns.iter().map(title).collect::<Vec<_>>().join("\t") + "\n";
    for row in rows {
        let cell = |column: &&str| row.get(*column).and_then(Json::as_str).unwrap_or_default();
        lines.push_str(&columns.iter().map(cell).collect::<Vec<_>>().join("\t"));
        lines.push('\n');
    }
    lines
}

/// Compact JSON with sorted keys and Go's escapes.
pub fn json_line(value: &Json) -> Result<String> {
    crate::store::encode_json(&sorted(value))
        .map_err(|error| CommandError::internal("Cannot write JSON").with_source(error))
}

fn sorted(value: &Json) -> Json {
    match value {
        Json::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            Json::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| (key.clone(), sorted(value)))
                    .collect(),
            )
        }
        Json::Array(items) => Json::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn render_row(template: &Template, row: &Json) -> Result<String> {
    Ok(execute(template, value_of(row))? + "\n")
}

type Function = fn(&[Value]) -> Result<Value, FuncError>;

const ROW_FUNCTIONS: &[(&str, Function)] = &[
    ("json", json),
    ("split", split),
    ("join", join),
    ("title", title),
    ("lower", lower),
    ("upper", upper),
    ("pad", pad),
    ("truncate", truncate),
];

/// In a header line a function returns the title unchanged.
const HEADER_FUNCTIONS: &[(&str, Function)] = &[
    ("json", first),
    ("split", first),
    ("join", first),
    ("title", first),
    ("lower", first),
    ("upper", first),
    ("pad", pad),
    ("truncate", first),
];

fn parse(text: &str, functions: &[(&str, Function)]) -> Result<Template> {
    let mut template = Template::default();
    template.add_funcs(functions);
    template.parse(text).map_err(|error| {
        let (line, why) = refusal(text, &error.to_string());
        let told = CommandError::user(format!("template parsing error: template: :{line}: {why}"));
        let told = match unclosed(text) {
            Some(at) => told.with_hint(missing_end(text, at)),
            None => told,
        };
        told.with_hint("`--format json` shows the fields; a template looks like `{{.Name}}`")
    })?;
    Ok(template)
}

/// In which line of a template something is wrong, and what. The parser's own text begins with places, some of them
/// wrong, and it does not know the most common mistake.
fn refusal(template: &str, error: &str) -> (usize, String) {
    if let Some(at) = unclosed(template) {
        return (line_and_column(template, at).0, "unclosed action".to_owned());
    }
    let mut text = error.trim();
    while let Some(rest) = text.strip_prefix("template: :") {
        text = rest
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == ':')
            .trim();
    }
    (1, text.to_owned())
}

/// Where the first `{{` stands that has no `}}` before the next one; a string in it may hold either.
fn unclosed(template: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let begin = from + template.get(from..)?.find("{{")?;
        let inner = template.get(begin + 2..)?;
        match end_of_action(inner) {
            Some(end) => from = begin + 2 + end,
            None => return Some(begin),
        }
    }
}

/// Behind the `}}` of an action, of which `text` is everything after its `{{`.
fn end_of_action(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(quote) if letter == '\\' && quote != '`' => escaped = true,
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if matches!(letter, '"' | '\'' | '`') => quote = Some(letter),
            None if text.get(at..)?.starts_with("}}") => return Some(at + 2),
            None if text.get(at..)?.starts_with("{{") => return None,
            None => {}
        }
    }
    None
}

fn missing_end(template: &str, at: usize) -> String {
    let (line, column) = line_and_column(template, at);
    let rest = template.get(at..).unwrap_or_default();
    let action: String = rest
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(SHOWN)
        .collect();
    format!("`}}}}` is missing after `{action}` (line {line}, character {column})")
}

/// How much of an action is shown.
const SHOWN: usize = 40;

/// Both count from 1.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

fn execute(template: &Template, value: Value) -> Result<String> {
    let fields = match &value {
        Value::Object(map) | Value::Map(map) => map.keys().cloned().collect(),
        _ => Vec::new(),
    };
    template.render(&Context::from(value)).map_err(|error| {
        let mut hint = None;
        let text = match TemplateError::from(error) {
            TemplateError::ExecError(ExecError::NoFiledFor(field, _)) => {
                hint = Some(known_fields(&field, fields));
                format!("template parsing error: template: :1: executing \"\" at <.{field}>: can't evaluate field {field}")
            }
            other => format!("template parsing error: template: :1: {other}"),
        };
        match hint {
            Some(hint) => CommandError::user(text).with_hint(hint),
            None => CommandError::user(text),
        }
    })
}

fn known_fields(field: &str, mut known: Vec<String>) -> String {
    known.sort();
    let all = format!("Fields of a row: {}", known.join(", "));
    match values::nearest(field, known.iter().map(String::as_str)) {
        Some(near) => format!("Did you mean `.{near}`? {all}"),
        None => all,
    }
}

/// Objects refuse unknown fields, as Go's structs do.
fn value_of(json: &Json) -> Value {
    match json {
        Json::Null => Value::NoValue,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Value::from(number),
            (None, number) => Value::from(number.unwrap_or_default()),
        },
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => Value::Array(items.iter().map(value_of).collect()),
        Json::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| (key.clone(), value_of(value)))
                .collect::<HashMap<_, _>>(),
        ),
    }
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::NoValue | Value::Nil | Value::Function(_) => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::String(text) => Json::String(text.clone()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Json::from(number),
            (None, number) => Json::from(number.unwrap_or_default()),
        },
        Value::Array(items) => Json::Array(items.iter().map(json_of).collect()),
        Value::Object(map) | Value::Map(map) => Json::Object(
            map.iter()
                .map(|(key, value)| (key.clone(), json_of(value)))
                .collect(),
        ),
    }
}

fn text_of(value: Option<&Value>) -> Result<String, FuncError> {
    match value {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::NoValue | Value::Nil) => Ok(String::new()),
        Some(other) => Ok(other.to_string()),
        None => Err(FuncError::AtLeastXArgs("text".to_owned(), 1)),
    }
}

fn number_of(value: Option<&Value>) -> usize {
    match value {
        Some(Value::Number(number)) => number
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or_default(),
        _ => 0,
    }
}

fn first(arguments: &[Value]) -> Result<Value, FuncError> {
    text_of(arguments.first()).map(Value::from)
}

fn json(arguments: &[Value]) -> Result<Value, FuncError> {
    let value = sorted(&json_of(arguments.first().unwrap_or(&Value::Nil)));
    crate::store::encode_json(&value)
        .map(Value::from)
        .map_err(|error| FuncError::Generic(error.to_string()))
}

fn split(arguments: &[Value]) -> Result<Value, FuncError> {
    let (text, separator) = (text_of(arguments.first())?, text_of(arguments.get(1))?);
    Ok(Value::Array(
        text.split(separator.as_str()).map(Value::from).collect(),
    ))
}

fn join(arguments: &[Value]) -> Result<Value, FuncError> {
    let separator = text_of(arguments.get(1))?;
    let Some(Value::Array(items)) = arguments.first() else {
        return first(arguments);
    };
    let items: Result<Vec<String>, FuncError> = items.iter().map(|item| text_of(Some(item))).collect();
    Ok(Value::from(items?.join(&separator)))
}

fn title(arguments: &[Value]) -> Result<Value, FuncError> {
    let mut starts = true;
    let text = text_of(arguments.first())?
        .chars()
        .map(|c| {
            let c = if starts { c.to_ascii_uppercase() } else { c };
            starts = !c.is_alphanumeric() && c != '_' && c != '\'';
            c
        })
        .collect::<String>();
    Ok(Value::from(text))
}

fn lower(arguments: &[Value]) -> Result<Value, FuncError> {
    Ok(Value::from(text_of(arguments.first())?.to_lowercase()))
}

fn upper(arguments: &[Value]) -> Result<Value, FuncError> {
    Ok(Value::from(text_of(arguments.first())?.to_uppercase()))
}

fn pad(arguments: &[Value]) -> Result<Value, FuncError> {
    let text = text_of(arguments.first())?;
    if text.is_empty() {
        return Ok(Value::from(text));
    }
    let (before, after) = (number_of(arguments.get(1)), number_of(arguments.get(2)));
    Ok(Value::from(format!(
        "{}{text}{}",
        " ".repeat(before),
        " ".repeat(after)
    )))
}

fn truncate(arguments: &[Value]) -> Result<Value, FuncError> {
    let text = text_of(arguments.first())?;
    let mut end = number_of(arguments.get(1)).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Ok(Value::from(text.get(..end).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const HEADERS: &[(&str, &str)] = &[("Name", "NAME/NODE"), ("Status", "STATUS")];

    fn rendered(format: &str) -> String {
        let rows = [
            json!({"Name": "a&b", "Status": "", "Error": "", "Builder": {"Nodes": ["x", "y"], "Z": 1, "A": 2}}),
        ];
        match render(&Format::parse(format, &["Name", "Status"]), HEADERS, &rows) {
            Ok(text) => text,
            Err(error) => error.line(),
        }
    }

    #[test]
    fn a_plain_table_is_the_one_of_its_template() {
        let rows = [
            serde_json::json!({"Name": "a", "Status": "running"}),
            serde_json::json!({"Name": " \\_ longer", "Status": ""}),
        ];
        let plain = Format::parse("table", &["Name", "Status"]);
        let template = Format::parse("table {{.Name}}\\t{{.Status}}", &[]);
        assert_ne!(plain, template);
        assert_eq!(
            render(&plain, HEADERS, &rows).unwrap(),
            render(&template, HEADERS, &rows).unwrap()
        );
    }

    #[test]
    fn tables_have_headers() {
        assert_eq!(rendered("table"), "NAME/NODE   STATUS\na&b         \n");
        assert_eq!(
            rendered("table {{.Name}}\\t{{.Error}}"),
            "NAME/NODE   <no value>\na&b         \n"
        );
        assert_eq!(rendered("table {{upper .Name}}"), "NAME/NODE\nA&B\n");
    }

    #[test]
    fn templates_have_the_functions_of_the_docker_client() {
        assert_eq!(
            rendered("{{json .Builder}}"),
            "{\"A\":2,\"Nodes\":[\"x\",\"y\"],\"Z\":1}\n"
        );
        assert_eq!(rendered("{{join .Builder.Nodes \"-\"}}"), "x-y\n");
        assert_eq!(rendered("{{join (split .Name \"&\") \"+\"}}"), "a+b\n");
        assert_eq!(
            rendered("[{{pad .Name 1 2}}][{{pad .Status 1 2}}]"),
            "[ a&b  ][]\n"
        );
        assert_eq!(rendered("{{truncate .Name 2}}{{title .Name}}"), "a&A&B\n");
        assert_eq!(rendered("{{if .Status}}yes{{else}}no{{end}}"), "no\n");
    }

    #[test]
    fn json_is_sorted_and_escaped() {
        assert_eq!(
            rendered("json"),
            "{\"Builder\":{\"A\":2,\"Nodes\":[\"x\",\"y\"],\"Z\":1},\"Error\":\"\",\"Name\":\"a\\u0026b\",\"Status\":\"\"}\n"
        );
    }

    #[test]
    fn an_action_without_its_end_is_found() {
        assert_eq!(unclosed("{{.Name"), Some(0));
        assert_eq!(unclosed("a {{.Name}} {{.Status}"), Some(12));
        assert_eq!(unclosed("{{.Name {{.Status}}"), Some(0));
        assert_eq!(unclosed("{{join .A \"}}"), Some(0));
        for whole in ["", "x}}", "{{.Name}}", "{{join .A \"}}\"}}", "{{join .A `{{`}}"] {
            assert_eq!(unclosed(whole), None, "{whole}");
        }
        assert_eq!(
            missing_end("é\nx{{.Name", 4),
            "`}}` is missing after `{{.Name` (line 2, character 2)"
        );
    }

    #[test]
    fn bad_templates_are_refused() {
        assert_eq!(
            rendered("{{.Name"),
            "template parsing error: template: :1: unclosed action"
        );
        assert_eq!(
            rendered("{{.Name}}\\n{{.Status}"),
            "template parsing error: template: :2: unclosed action"
        );
        assert!(rendered("{{if .Name}}x").starts_with("template parsing error: template: :1: "));
        assert!(
            rendered("{{.Nope}}").ends_with("can't evaluate field Nope"),
            "{}",
            rendered("{{.Nope}}")
        );
    }
}
