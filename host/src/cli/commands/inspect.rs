//! `inspect`: everything about one builder.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;

use crate::buildkit::worker::{Device, GcPolicy, Worker};
use crate::cli::args::Timeout;
use crate::cli::plugin::Called;
use crate::cli::settings::{Context, current_name, resolve_builder};
use crate::cli::status::{self, BuilderReport, NodeReport};
use crate::cli::table;
use crate::cli::template::{self, Format};
use crate::cli::values::{duration_text, go_quoted};
use crate::cli::{boot, platform_summary, print, show};
use crate::error::Result;

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Boot nodes that are not running before they are inspected
    #[arg(long)]
    bootstrap: bool,
    /// `json`, or a Go template (default: a text for people)
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    #[command(flatten)]
    timeout: Timeout,
    /// The builder (default: the selected one)
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

const EXAMPLES: &str = "Examples:
  bkhost inspect
  bkhost inspect --bootstrap ci
  bkhost inspect --format '{{range .Nodes}}{{.Name}} {{.Status}}{{end}}' ci";

/// Shows the builder; what cannot be reached is shown, not a failure.
pub async fn run(context: &Context<'_>, args: &Args) -> Result<()> {
    let choice = resolve_builder(context, args.name.as_deref()).await?;
    choice
        .builder
        .warnings
        .iter()
        .for_each(|warning| context.ui.warn(warning));
    let mut report = status::load(context, choice.builder, args.timeout.timeout).await;
    if args.bootstrap && report.error.is_none() {
        boot::boot_missing(context, &report).await?;
        report = status::load(context, report.builder, args.timeout.timeout).await;
    }
    if let Some(format) = &args.format {
        let current = current_name(context).await == report.builder.name();
        let object = show::builder(context, &report, current);
        return print(
            context.ui,
            template::render(&Format::parse(format, &[]), &[], &[object])?,
        );
    }
    let activity = context.store.activity(report.builder.name());
    print(
        context.ui,
        text(&report, activity, &context.environment.called, context.ui.debug()),
    )
}

fn text(report: &BuilderReport, activity: Option<Timestamp>, called: &Called, debug: bool) -> String {
    let record = &report.builder.record;
    let mut out = String::new();
    line(&mut out, "Name:", &record.name);
    line(&mut out, "Driver:", &record.driver);
    if let Some(time) = activity {
        line(
            &mut out,
            "Last Activity:",
            &time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        );
    }
    if let Some(error) = &report.error {
        line(&mut out, "Error:", &error.message);
        let hint = error.hint.as_deref().map(|hint| called.respelled(hint));
        return hinted(table::align(&out, table::BLOCK), hint);
    }
    out.push_str("\nNodes:\n");
    for (position, node) in report.nodes.iter().enumerate() {
        if position > 0 {
            out.push('\n');
        }
        let renew = called.respelled(&format!("`bkhost renew {}`", record.name));
        node_text(&mut out, &renew, node, debug);
    }
    table::align(&out, table::BLOCK)
}

fn hinted(mut text: String, hint: Option<String>) -> String {
    if let Some(hint) = hint {
        let _ = writeln!(text, "hint: {hint}");
    }
    text
}

fn line(out: &mut String, key: &str, value: &str) {
    let _ = writeln!(out, "{key}\t{value}");
}

fn node_text(out: &mut String, renew: &str, node: &NodeReport, debug: bool) {
    line(out, "Name:", &node.node.name);
    line(out, "Endpoint:", &node.node.endpoint);
    let options: Vec<String> = node
        .node
        .driver_opts
        .iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", go_quoted(value)))
        .collect();
    if !options.is_empty() {
        line(out, "Driver Options:", &options.join(" "));
    }
    if let Some(error) = &node.error {
        line(out, "Error:", &error.message);
        return;
    }
    line(out, "Status:", node.status_word());
    if !node.detail.is_empty() {
        line(out, "Detail:", &node.detail);
    }
    if let Some(settings) = &node.drift {
        line(out, "Drift:", &format!("{settings} (apply with {renew})"));
    }
    if let Some(flags) = node.node.flags.as_ref().filter(|flags| !flags.is_empty()) {
        line(out, "BuildKit daemon flags:", &flags.join(" "));
    }
    if let Some(version) = &node.version {
        line(out, "BuildKit version:", version);
    }
    let platforms = node.platforms();
    if !platforms.is_empty() {
        line(
            out,
            "Platforms:",
            &platform_summary::full(&platforms, node.fixed_platforms()),
        );
    }
    if debug {
        features_text(out, &node.abilities);
    }
    workers_text(out, &node.workers);
    files_text(out, node);
}

/// What a driver's ability is called where buildx has it.
const FEATURES: [(&str, &str); 7] = [
    ("cache-export", "Cache export"),
    (
        "default-load",
        "Automatically load images to the Docker Engine image store",
    ),
    ("direct-push", "Direct push"),
    ("docker-exporter", "Docker exporter"),
    ("multi-platform", "Multi-platform build"),
    ("oci-exporter", "OCI exporter"),
    ("prefer-image-digest", "Prefer image digest"),
];

fn features_text(out: &mut String, abilities: &BTreeMap<String, String>) {
    let shown = |key: &str| {
        let known = FEATURES.iter().find(|(known, _)| *known == key);
        known.map_or_else(|| key.to_owned(), |(_, name)| (*name).to_owned())
    };
    // It has a line of its own.
    let named = abilities.iter().filter(|(key, _)| *key != "version");
    let features: BTreeMap<String, &String> = named.map(|(key, value)| (shown(key), value)).collect();
    if !features.is_empty() {
        out.push_str("Features:\n");
    }
    for (name, value) in features {
        let _ = writeln!(out, "\t{name}:\t{value}");
    }
}

fn workers_text(out: &mut String, workers: &[Worker]) {
    if let Some(first) = workers.first().filter(|worker| !worker.labels.is_empty()) {
        out.push_str("Labels:\n");
        for (name, value) in &first.labels {
            let _ = writeln!(out, "\t{name}:\t{value}");
        }
    }
    if let Some(last) = workers.last().filter(|worker| !worker.devices.is_empty()) {
        out.push_str("Devices:\n");
        last.devices.iter().for_each(|device| device_text(out, device));
    }
    if let Some(first) = workers.first() {
        for (position, policy) in first.gc_policies.iter().enumerate() {
            policy_text(out, position, policy);
        }
    }
}

fn device_text(out: &mut String, device: &Device) {
    let _ = writeln!(out, "\tName:\t{}", device.name);
    if device.on_demand {
        let _ = writeln!(out, "\tOn-Demand:\t{}", device.on_demand);
    } else {
        let _ = writeln!(out, "\tAutomatically allowed:\t{}", device.auto_allow);
    }
    if !device.annotations.is_empty() {
        out.push_str("\tAnnotations:\n");
        for (name, value) in &device.annotations {
            let _ = writeln!(out, "\t\t{name}:\t{value}");
        }
    }
}

fn policy_text(out: &mut String, position: usize, policy: &GcPolicy) {
    let _ = writeln!(out, "GC Policy rule#{position}:");
    let _ = writeln!(out, "\tAll:\t{}", policy.all);
    if !policy.filters.is_empty() {
        let _ = writeln!(out, "\tFilters:\t{}", policy.filters.join(" "));
    }
    if !policy.keep_duration.is_zero() {
        let nanoseconds = i64::try_from(policy.keep_duration.as_nanos()).unwrap_or(i64::MAX);
        let _ = writeln!(out, "\tKeep Duration:\t{}", duration_text(nanoseconds));
    }
    let sizes = [
        ("Reserved Space", policy.reserved_space),
        ("Max Used Space", policy.max_used_space),
        ("Min Free Space", policy.min_free_space),
    ];
    for (name, size) in sizes.into_iter().filter(|(_, size)| *size > 0) {
        let _ = writeln!(out, "\t{name}:\t{}", binary_size(size));
    }
}

fn files_text(out: &mut String, node: &NodeReport) {
    for (name, data) in node.node.files.iter().flatten() {
        let _ = writeln!(out, "File#{name}:");
        for line in String::from_utf8_lossy(data).split('\n') {
            let _ = writeln!(out, "\t> {line}");
        }
    }
}

/// A size in powers of 1024 with four significant digits.
fn binary_size(bytes: i64) -> String {
    const UNITS: &[&str] = &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = bytes as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"B");
    while size >= 1024.0 {
        let Some(next) = units.next() else { break };
        size /= 1024.0;
        unit = next;
    }
    let decimals = match size {
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{size:.decimals$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::builders::{Builder, Origin};
    use crate::driver::node::State;
    use crate::platform::Platform;
    use crate::store::record::{BuilderRecord, NodeRecord};
    use std::time::Duration;

    #[test]
    fn sizes_have_four_digits() {
        assert_eq!(binary_size(512_000_000), "488.3MiB");
        assert_eq!(binary_size(10_000_000_000), "9.313GiB");
        assert_eq!(binary_size(51_002_736_640), "47.5GiB");
        assert_eq!(binary_size(10), "10B");
        assert_eq!(binary_size(1 << 40), "1TiB");
    }

    fn device(name: &str, on_demand: bool, annotations: &[(&str, &str)]) -> Device {
        Device {
            name: name.into(),
            auto_allow: true,
            on_demand,
            annotations: annotations
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
        }
    }

    fn worker() -> Worker {
        Worker {
            id: "w".into(),
            labels: BTreeMap::from([
                ("org.mobyproject.buildkit.worker.executor".into(), "oci".into()),
                ("org.mobyproject.buildkit.worker.hostname".into(), "h1".into()),
            ]),
            platforms: vec!["linux/amd64".into(), "linux/386".into()],
            gc_policies: vec![GcPolicy {
                filters: vec!["type==source.local".into(), "type==exec.cachemount".into()],
                keep_duration: Duration::from_secs(172_800),
                reserved_space: 10_000_000_000,
                max_used_space: 512_000_000,
                ..GcPolicy::default()
            }],
            devices: vec![
                device("vendor.example/gpu=0", false, &[("k", "v")]),
                device("vendor.example/fpga=0", true, &[]),
            ],
        }
    }

    fn report() -> BuilderReport {
        let node = NodeRecord {
            name: "fast0".into(),
            endpoint: "unix:///run/docker.sock".into(),
            platforms: Some(vec![Platform::new("linux", "arm64", "")]),
            driver_opts: Some(BTreeMap::from([
                ("image".into(), "moby/buildkit:v0.32".into()),
                ("network".into(), "host".into()),
            ])),
            flags: Some(vec!["--allow-insecure-entitlement=network.host".into()]),
            files: Some(BTreeMap::from([(
                "buildkitd.toml".into(),
                b"debug = true\n".to_vec(),
            )])),
        };
        BuilderReport {
            builder: Builder {
                record: BuilderRecord::new("fast", "docker-container"),
                origin: Origin::Implicit,
                warnings: Vec::new(),
            },
            error: None,
            nodes: vec![NodeReport {
                node,
                state: Some(State::Running),
                version: Some("v0.32.2".into()),
                workers: vec![worker()],
                abilities: BTreeMap::from([
                    ("cache-export".into(), "true".into()),
                    ("direct-push".into(), "true".into()),
                ]),
                ..NodeReport::default()
            }],
            dynamic: false,
        }
    }

    /// The shape is the one of buildx's `inspect`, odd indent of device annotations included.
    #[test]
    fn the_text_is_aligned_by_blocks() {
        let time = "2026-08-01T10:11:12Z".parse().unwrap();
        let text = text(&report(), Some(time), &Called::default(), true);
        insta::assert_snapshot!(text.replace(" \n", "·\n"), @r#"
        Name:          fast
        Driver:        docker-container
        Last Activity: 2026-08-01 10:11:12 +0000 UTC

        Nodes:
        Name:                  fast0
        Endpoint:              unix:///run/docker.sock
        Driver Options:        image="moby/buildkit:v0.32" network="host"
        Status:                running
        BuildKit daemon flags: --allow-insecure-entitlement=network.host
        BuildKit version:      v0.32.2
        Platforms:             linux/arm64*, linux/amd64, linux/386
        Features:
         Cache export: true
         Direct push:  true
        Labels:
         org.mobyproject.buildkit.worker.executor: oci
         org.mobyproject.buildkit.worker.hostname: h1
        Devices:
         Name:                  vendor.example/gpu=0
         Automatically allowed: true
         Annotations:
                    k: v
         Name:      vendor.example/fpga=0
         On-Demand: true
        GC Policy rule#0:
         All:            false
         Filters:        type==source.local type==exec.cachemount
         Keep Duration:  48h0m0s
         Reserved Space: 9.313GiB
         Max Used Space: 488.3MiB
        File#buildkitd.toml:
         > debug = true
         >·
        "#);
    }
}
