//! Builders as JSON, in the form that `ls --format json` of buildx has.

use serde_json::{Map, Value, json};

use super::settings::Context;
use super::status::{BuilderReport, NodeReport};
use crate::buildkit::worker::GcPolicy;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// What an unknown time is shown as.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A builder with its nodes.
pub fn builder(context: &Context<'_>, report: &BuilderReport, current: bool) -> Value {
    let record = &report.builder.record;
    let activity = context.store.activity(&record.name);
    let mut object = Map::new();
    object.insert("Current".into(), json!(current));
    object.insert("Driver".into(), json!(record.driver));
    object.insert("Dynamic".into(), json!(report.dynamic));
    if let Some(error) = &report.error {
        object.insert("Err".into(), json!(error.message));
    }
    let activity = activity.map_or_else(|| NEVER.to_owned(), |time| time.to_string());
    object.insert("LastActivity".into(), json!(activity));
    object.insert("Name".into(), json!(record.name));
    object.insert("Nodes".into(), nodes(context, report));
    Value::Object(object)
}

fn nodes(context: &Context<'_>, report: &BuilderReport) -> Value {
    if report.error.is_some() {
        let empty = |_| json!({"Endpoint": "", "Name": ""});
        return report.builder.record.nodes().iter().map(empty).collect();
    }
    if report.nodes.is_empty() {
        return Value::Null;
    }
    report.nodes.iter().map(|report| node(context, report)).collect()
}

fn node(context: &Context<'_>, report: &NodeReport) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| {
        let is_empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if !is_empty || matches!(key, "Name" | "Endpoint") {
            object.insert(key.to_owned(), value);
        }
    };
    put("Name", json!(report.node.name));
    put("Endpoint", json!(report.node.endpoint));
    put("DriverOpts", json!(report.node.driver_opts));
    put("Err", json!(report.error.as_ref().map(|error| &error.message)));
    put("Files", files(report));
    put("Flags", json!(report.node.flags));
    put("Status", json!(report.status_word()));
    put("Drift", json!(report.drift));
    put("Version", json!(report.version));
    let first = report.workers.first();
    let policies = first.map(|worker| worker.gc_policies.iter().map(policy).collect::<Vec<_>>());
    put("GCPolicy", json!(policies));
    put("Labels", json!(first.map(|worker| &worker.labels)));
    let mut ids: Vec<&str> = report.workers.iter().map(|worker| worker.id.as_str()).collect();
    ids.sort_unstable();
    put("IDs", json!(ids));
    let platforms: Vec<String> = report.platforms().iter().map(ToString::to_string).collect();
    put("Platforms", json!(platforms));
    put("ProxyConfig", proxies(context));
    Value::Object(object)
}

fn files(report: &NodeReport) -> Value {
    let files = report.node.files.iter().flatten();
    files
        .map(|(name, data)| (name.clone(), json!(BASE64.encode(data))))
        .collect::<Map<_, _>>()
        .into()
}

/// Proxies for builds, which depend on the active context's engine.
fn proxies(context: &Context<'_>) -> Value {
    let host = match context.contexts.get(context.contexts.active()) {
        Ok(Some(active)) => active.host,
        _ => String::new(),
    };
    json!(context.docker.proxy_variables(&host))
}

fn policy(policy: &GcPolicy) -> Value {
    let filter = if policy.filters.is_empty() {
        Value::Null
    } else {
        json!(policy.filters)
    };
    json!({
        "all": policy.all,
        "filter": filter,
        "keepDuration": i64::try_from(policy.keep_duration.as_nanos()).unwrap_or(i64::MAX),
        "maxUsedSpace": policy.max_used_space,
        "minFreeSpace": policy.min_free_space,
        "reservedSpace": policy.reserved_space,
    })
}
