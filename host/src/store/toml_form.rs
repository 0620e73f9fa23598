//! TOML in the exact form in which buildx stores buildkitd's configuration.
//!
//! In every table first the plain values in key order, then the sub-tables and arrays of tables in key order; strings
//! in single quotes unless they need escapes; a blank line before a header that follows a value.

use std::fmt::Write as _;

use toml::{Table, Value};

/// Writes `table` in that form; an empty table gives an empty text.
pub fn write(table: &Table) -> String {
    let mut out = String::new();
    write_table(&mut out, &[], table);
    out
}

fn write_table(out: &mut String, path: &[&str], table: &Table) {
    let mut entries: Vec<(&String, &Value)> = table.iter().collect();
    entries.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
    for (name, value) in &entries {
        if !is_section(value) {
            let _ = writeln!(out, "{} = {}", key(name), inline(value));
        }
    }
    for (name, value) in entries {
        let mut path = path.to_vec();
        path.push(name);
        match value {
            Value::Table(table) => {
                header(out, &path, "[", "]");
                write_table(out, &path, table);
            }
            Value::Array(items) if is_section(value) => {
                for table in items.iter().filter_map(Value::as_table) {
                    header(out, &path, "[[", "]]");
                    write_table(out, &path, table);
                }
            }
            _ => {}
        }
    }
}

/// Whether a value gets a header of its own: a table, or an array of nothing but tables.
fn is_section(value: &Value) -> bool {
    match value {
        Value::Table(_) => true,
        Value::Array(items) => !items.is_empty() && items.iter().all(Value::is_table),
        _ => false,
    }
}

fn header(out: &mut String, path: &[&str], open: &str, close: &str) {
    let after_value = out.lines().last().is_some_and(|line| !line.starts_with('['));
    if after_value {
        out.push('\n');
    }
    let path: Vec<String> = path.iter().map(|part| key(part)).collect();
    let _ = writeln!(out, "{open}{}{close}", path.join("."));
}

fn key(name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { name.to_owned() } else { string(name) }
}

fn string(text: &str) -> String {
    let needs_escapes = text.chars().any(|c| c == '\'' || c.is_ascii_control());
    if !needs_escapes {
        return format!("'{text}'");
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_ascii_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => float(*number),
        Value::Boolean(value) => value.to_string(),
        Value::Datetime(time) => time.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Table(table) => inline_table(table),
    }
}

fn inline_table(table: &Table) -> String {
    let mut entries: Vec<(&String, &Value)> = table.iter().collect();
    entries.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
    let members: Vec<String> = entries
        .into_iter()
        .map(|(name, value)| format!("{} = {}", key(name), inline(value)))
        .collect();
    format!("{{{}}}", members.join(", "))
}

fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let text = number.to_string();
    if text.contains('.') {
        text
    } else {
        format!("{text}.0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(input: &str) -> String {
        write(&input.parse::<Table>().unwrap())
    }

    /// Input and output of buildx 0.37.1.
    #[test]
    fn values_tables_and_arrays_come_out_as_buildx_writes_them() {
        let input = r#"
debug = true
root = "/var/lib/x\ty"
insecure-entitlements = ["network.host", "it's"]
[worker.oci]
  gc = true
  [[worker.oci.gcpolicy]]
    keepBytes = "10GB"
    filters = ["a", "b"]
  [[worker.oci.gcpolicy]]
    all = true
[worker.containerd.labels]
 x = "y"
[registry."docker.io"]
  mirrors = ["mirror.example:5000"]
[registry."a.example:5000"]
  http = true
[extra]
inl = { y = 1.5, "a b" = "q", n = { z = 1 } }
mixed = [1, "a", [2, 3], {k = "v"}]
uni = "é\u0001"
bs = "a\\b"
big = 1e20
small = 1e-10
inf = inf
odt = 2020-01-01T00:00:00.5+02:00
ld = 2020-01-01
hex = 0xff
none = []
"key with'quote" = 1
"" = 2
[extra.empty]
[extra.deep.deeper]
[[extra.arr]]
[[extra.arr]]
x = 1
[extra.arr.sub]
y = 2
"#;
        let output = r#"debug = true
insecure-entitlements = ['network.host', "it's"]
root = "/var/lib/x\ty"

[extra]
'' = 2
big = 100000000000000000000.0
bs = 'a\b'
hex = 255
inf = inf
"key with'quote" = 1
ld = 2020-01-01
mixed = [1, 'a', [2, 3], {k = 'v'}]
none = []
odt = 2020-01-01T00:00:00.5+02:00
small = 0.0000000001
uni = "é\u0001"

[[extra.arr]]
[[extra.arr]]
x = 1

[extra.arr.sub]
y = 2

[extra.deep]
[extra.deep.deeper]
[extra.empty]
[extra.inl]
'a b' = 'q'
y = 1.5

[extra.inl.n]
z = 1

[registry]
[registry.'a.example:5000']
http = true

[registry.'docker.io']
mirrors = ['mirror.example:5000']

[worker]
[worker.containerd]
[worker.containerd.labels]
x = 'y'

[worker.oci]
gc = true

[[worker.oci.gcpolicy]]
filters = ['a', 'b']
keepBytes = '10GB'

[[worker.oci.gcpolicy]]
all = true
"#;
        assert_eq!(form(input), output);
    }

    #[test]
    fn nothing_but_comments_is_empty() {
        assert_eq!(form("# nothing\n"), "");
        assert_eq!(form("[log]\nformat = \"json\""), "[log]\nformat = 'json'\n");
    }
}
