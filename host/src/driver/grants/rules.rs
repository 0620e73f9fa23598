//! Rules over requests to an HTTP API: method, path, query and named fields of the body.
//!
//! A request is allowed when one rule allows all of it. Whatever a rule does not name is denied: a path, a query key,
//! a field of the body. What a rule requires must be there. A path segment `{id:CLASS}` is an id of that class that an
//! allowed request returned earlier in the operation; all else are patterns.

mod json;
mod pattern;

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

pub(super) use self::pattern::matches;
use super::Denied;
use crate::driver::node::NodeConfig;

/// Most bytes of a request's body that are looked at field by field.
const BODY: usize = 16 << 20;

/// One rule as manifests write it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RuleText {
    /// HTTP method in capitals.
    pub method: String,
    /// Path with a pattern for each segment.
    pub path: String,
    /// Query keys that may be given, each with the patterns its value may have.
    #[serde(default)]
    pub query: BTreeMap<String, OneOrMany>,
    /// Fields of the JSON body that may be given. Keys are paths (`/HostConfig/Privileged`, a segment `*` is any, a
    /// last segment `**` is all below), values what they may hold.
    #[serde(default)]
    pub body: BTreeMap<String, OneOrMany>,
    /// Query keys that must be given.
    #[serde(default)]
    pub required_query: Vec<String>,
    /// Paths of fields that the body must give a value.
    #[serde(default)]
    pub required_body: Vec<String>,
    /// The body is not looked at, because it is no JSON (an archive).
    #[serde(default)]
    pub raw_body: bool,
    /// What to remember of the answer: class of id to its path in the answer (`/Id`, `/items/*/metadata/name`).
    #[serde(default)]
    pub remember: BTreeMap<String, String>,
}

/// One allowed value, or several.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(Allowed),
    /// Several.
    Many(Vec<Allowed>),
}

/// An allowed value. A text is a pattern for texts, and `*` is any value.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Allowed {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// A pattern.
    Pattern(String),
}

impl OneOrMany {
    fn all(&self) -> &[Allowed] {
        match self {
            Self::One(allowed) => std::slice::from_ref(allowed),
            Self::Many(allowed) => allowed,
        }
    }
}

impl RuleText {
    /// What is wrong with the rule itself.
    pub(crate) fn check(&self) -> Result<(), String> {
        const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        if !METHODS.contains(&self.method.as_str()) {
            return Err(format!(
                "has the method `{}`, which is none of: {}",
                self.method,
                METHODS.join(", ")
            ));
        }
        for path in std::iter::once(&self.path)
            .chain(self.body.keys())
            .chain(&self.required_body)
            .chain(self.remember.values())
        {
            if !path.starts_with('/') {
                return Err(format!("has the path `{path}`, which does not begin with `/`"));
            }
        }
        if self.raw_body && !(self.body.is_empty() && self.required_body.is_empty()) {
            return Err("has both `body` and `raw-body`".to_owned());
        }
        self.check_required()
    }

    /// What is required and not allowed would refuse every request.
    fn check_required(&self) -> Result<(), String> {
        let never = |what: &str| Err(format!("requires `{what}`, which it does not allow"));
        if let Some(key) = self
            .required_query
            .iter()
            .find(|key| !self.query.contains_key(*key))
        {
            return never(key);
        }
        let is_allowed = |field: &String| {
            let path: Vec<String> = segments(field).map(str::to_owned).collect();
            self.body.keys().any(|pattern| field_matches(pattern, &path))
        };
        if let Some(field) = self.required_body.iter().find(|field| !is_allowed(field)) {
            return never(field);
        }
        Ok(())
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// A request that is to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Path with its query.
    pub path: &'a str,
    /// Body.
    pub body: &'a [u8],
}

/// What the variables of rules stand for.
pub(crate) struct Scope<'a> {
    config: &'a NodeConfig,
    remembered: &'a dyn Fn(&str, &str) -> bool,
}

impl<'a> Scope<'a> {
    /// The scope of a node. `remembered` says whether a class has an id.
    pub fn new(config: &'a NodeConfig, remembered: &'a dyn Fn(&str, &str) -> bool) -> Self {
        Self { config, remembered }
    }

    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "node" => Some(self.config.node.clone()),
            "node-dns" => Some(self.config.node.replace('_', "-")),
            _ => {
                let option = name.strip_prefix("option:")?;
                self.config.options.get(option).cloned()
            }
        }
    }
}

/// A rule that allowed a request.
#[derive(Clone, Debug)]
pub(crate) struct Rule<'a>(&'a RuleText);

impl<'r> Rule<'r> {
    /// Whether anything of the answer is to be remembered.
    pub fn remembers(&self) -> bool {
        !self.0.remember.is_empty()
    }

    /// Ids in an answer that the rule says to remember, with their classes.
    pub fn ids<'a>(&self, answer: &'a Value) -> Vec<(&'r str, &'a str)> {
        let mut ids = Vec::new();
        for (class, path) in &self.0.remember {
            let mut found = vec![answer];
            for segment in segments(path) {
                found = found
                    .into_iter()
                    .flat_map(|value| children(value, segment))
                    .collect();
            }
            ids.extend(
                found
                    .into_iter()
                    .filter_map(Value::as_str)
                    .map(|id| (class.as_str(), id)),
            );
        }
        ids
    }
}

/// The rule that allows a request. The refusal is that of the rule which came nearest.
pub(crate) fn find<'a>(
    rules: &'a [RuleText],
    request: &Request<'_>,
    scope: &Scope<'_>,
) -> Result<Rule<'a>, Denied> {
    let mut nearest = Refusal::Path;
    for rule in rules {
        match allows(rule, request, scope) {
            Ok(()) => return Ok(Rule(rule)),
            Err(refusal) => nearest = nearest.nearer(refusal),
        }
    }
    let path = request.path.split('?').next().unwrap_or_default();
    Err(Denied {
        call: format!("`{} {path}`", request.method),
        rule: nearest.words(),
    })
}

/// Why a rule does not allow a request; later ones are nearer to being allowed.
#[derive(Debug)]
enum Refusal {
    Path,
    Query(String),
    Body(String),
}

impl Refusal {
    fn rank(&self) -> u8 {
        match self {
            Self::Path => 0,
            Self::Query(_) => 1,
            Self::Body(_) => 2,
        }
    }

    fn nearer(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    fn words(self) -> String {
        match self {
            Self::Path => "no rule of the driver's manifest allows this method and path".to_owned(),
            Self::Query(words) | Self::Body(words) => words,
        }
    }
}

fn allows(rule: &RuleText, request: &Request<'_>, scope: &Scope<'_>) -> Result<(), Refusal> {
    if rule.method != request.method {
        return Err(Refusal::Path);
    }
    let (path, query) = match request.path.split_once('?') {
        Some((path, query)) => (path, query),
        None => (request.path, ""),
    };
    // What follows a `#` is never sent, so nothing there may count.
    if request.path.contains('#') || !path_matches(&rule.path, path, scope) {
        return Err(Refusal::Path);
    }
    check_query(rule, query, scope)?;
    if rule.raw_body {
        return Ok(());
    }
    check_body(rule, request.body, scope)
}

fn path_matches(pattern: &str, path: &str, scope: &Scope<'_>) -> bool {
    if !path.starts_with('/') {
        return false;
    }
    let wanted: Vec<&str> = segments(pattern).collect();
    let given: Vec<&str> = segments(path).collect();
    wanted.len() == given.len()
        && wanted
            .iter()
            .zip(&given)
            .all(|(pattern, segment)| segment_matches(pattern, segment, scope))
}

/// The parts of a path between its slashes; `/a//b` has an empty one, which no pattern matches.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

fn segment_matches(pattern: &str, segment: &str, scope: &Scope<'_>) -> bool {
    let Ok(segment) = percent_decode_str(segment).decode_utf8() else {
        return false;
    };
    if segment.is_empty() || segment == "." || segment == ".." || segment.contains(['/', '\0']) {
        return false;
    }
    if let Some(class) = pattern
        .strip_prefix("{id:")
        .and_then(|rest| rest.strip_suffix('}'))
    {
        return (scope.remembered)(class, &segment);
    }
    matches(pattern, &segment, scope)
}

fn check_query(rule: &RuleText, query: &str, scope: &Scope<'_>) -> Result<(), Refusal> {
    // Older servers take it for a `&`, newer ones for text.
    if query.contains(';') {
        return Err(Refusal::Query(
            "a query may have no `;`, unless as `%3B`".to_owned(),
        ));
    }
    let mut seen = Vec::new();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let allowed = rule.query.get(&*key).is_some_and(|allowed| {
            allowed.all().iter().any(|allowed| match allowed {
                Allowed::Pattern(pattern) => matches(pattern, &value, scope),
                Allowed::Bool(wanted) => value == wanted.to_string(),
                Allowed::Number(wanted) => value == wanted.to_string(),
            })
        });
        // Which of two values counts is the server's affair, so there is only one.
        if !allowed || seen.contains(&key) {
            return Err(Refusal::Query(format!(
                "the rule `{}` does not allow `{key}={value}` in the query",
                rule.name()
            )));
        }
        seen.push(key);
    }
    match rule
        .required_query
        .iter()
        .find(|key| !seen.iter().any(|seen| seen == key.as_str()))
    {
        Some(missing) => Err(Refusal::Query(format!(
            "the rule `{}` requires `{missing}` in the query",
            rule.name()
        ))),
        None => Ok(()),
    }
}

fn check_body(rule: &RuleText, body: &[u8], scope: &Scope<'_>) -> Result<(), Refusal> {
    let name = rule.name();
    let requires =
        |field: &str| Refusal::Body(format!("the rule `{name}` requires the body's field `{field}`"));
    if body.is_empty() {
        return rule
            .required_body
            .first()
            .map_or(Ok(()), |field| Err(requires(field)));
    }
    if rule.body.is_empty() {
        return Err(Refusal::Body(format!("the rule `{name}` allows no body")));
    }
    if body.len() > BODY {
        return Err(Refusal::Body(format!("the body has more than {BODY} bytes")));
    }
    let Ok(value) = json::parse_unambiguous(body) else {
        return Err(Refusal::Body(format!(
            "the rule `{name}` wants a JSON body whose objects name each field once"
        )));
    };
    check_value(rule, &value, &mut Vec::new(), scope).map_err(|field| {
        Refusal::Body(format!(
            "the rule `{name}` does not allow the body's field `{field}`"
        ))
    })?;
    let is_missing = |field: &&String| value.pointer(field).is_none_or(is_empty);
    match rule.required_body.iter().find(is_missing) {
        Some(field) => Err(requires(field)),
        None => Ok(()),
    }
}

/// Checks every leaf of a body; the error is the path of the first that is not allowed.
fn check_value(
    rule: &RuleText,
    value: &Value,
    path: &mut Vec<String>,
    scope: &Scope<'_>,
) -> Result<(), String> {
    if path.iter().any(|segment| segment.contains('/')) && !below_all(rule, path) {
        // A key with a slash could pretend to be deeper than it is.
        return Err(format!("/{}", path.join("/")));
    }
    match value {
        // In a patch, nothing is something: it takes away what is there. A key of a map is something, too: only names
        // that the rule has may have an empty value.
        value if is_empty(value) && rule.method != "PATCH" && leads_to_named(rule, path) => Ok(()),
        Value::Object(fields) if !fields.is_empty() => fields.iter().try_for_each(|(key, value)| {
            path.push(key.clone());
            let result = check_value(rule, value, path, scope);
            path.pop();
            result
        }),
        Value::Array(values) if !values.is_empty() => {
            values.iter().enumerate().try_for_each(|(index, value)| {
                path.push(index.to_string());
                let result = check_value(rule, value, path, scope);
                path.pop();
                result
            })
        }
        leaf if leaf_allowed(rule, leaf, path, scope) => Ok(()),
        _ => Err(format!("/{}", path.join("/"))),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(values) => values.is_empty(),
        _ => false,
    }
}

fn below_all(rule: &RuleText, path: &[String]) -> bool {
    rule.body
        .iter()
        .any(|(pattern, allowed)| pattern.ends_with("/**") && field_matches(pattern, path) && is_any(allowed))
}

fn is_any(allowed: &OneOrMany) -> bool {
    allowed
        .all()
        .iter()
        .any(|allowed| matches!(allowed, Allowed::Pattern(pattern) if pattern == "*"))
}

fn leaf_allowed(rule: &RuleText, leaf: &Value, path: &[String], scope: &Scope<'_>) -> bool {
    rule.body
        .iter()
        .filter(|(pattern, _)| field_matches(pattern, path))
        .any(|(_, allowed)| {
            allowed
                .all()
                .iter()
                .any(|allowed| value_allowed(allowed, leaf, scope))
        })
}

/// Whether the rule names a field at this path or below it.
fn leads_to_named(rule: &RuleText, path: &[String]) -> bool {
    rule.body.keys().any(|pattern| {
        let mut wanted = segments(pattern);
        for name in path {
            match wanted.next() {
                Some("**") => return true,
                Some(segment) if segment == "*" || segment == name => {}
                _ => return false,
            }
        }
        true
    })
}

fn field_matches(pattern: &str, path: &[String]) -> bool {
    let mut given = path.iter();
    for segment in segments(pattern) {
        if segment == "**" {
            return given.next().is_some();
        }
        match given.next() {
            Some(_) if segment == "*" => {}
            Some(name) if name == segment => {}
            _ => return false,
        }
    }
    given.next().is_none()
}

fn value_allowed(allowed: &Allowed, value: &Value, scope: &Scope<'_>) -> bool {
    match allowed {
        Allowed::Pattern(pattern) if pattern == "*" => true,
        Allowed::Pattern(pattern) => value.as_str().is_some_and(|text| matches(pattern, text, scope)),
        Allowed::Bool(wanted) => value.as_bool() == Some(*wanted),
        Allowed::Number(wanted) => value.as_i64() == Some(*wanted),
    }
}

fn children<'a>(value: &'a Value, segment: &str) -> Vec<&'a Value> {
    match value {
        Value::Array(values) if segment == "*" => values.iter().collect(),
        Value::Object(fields) if segment == "*" => fields.values().collect(),
        Value::Object(fields) => fields.get(segment).into_iter().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
