//! In what a container differs from the configuration.

use serde_json::{Map, Value};

use crate::api::Container;
use crate::creation::{LABEL, Plan};

/// Names of the settings that differ, as `memory, files`; absent when none does.
///
/// A container of ours tells what it was made with. One of buildx's is compared by what the engine says of it, and only
/// in what the configuration asks for: what an engine fills in by itself is no difference.
pub fn of(container: &Container, plan: &Plan<'_>) -> Option<String> {
    let label = container.label(LABEL);
    let remembered: Option<Map<String, Value>> = label.and_then(|label| serde_json::from_str(label).ok());
    let names = match remembered {
        Some(old) => changed(&old, &plan.remembered()),
        None => visible(container, plan),
    };
    (!names.is_empty()).then(|| names.join(", "))
}

fn changed(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<String> {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let differ = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    differ.cloned().collect()
}

fn visible(container: &Container, plan: &Plan<'_>) -> Vec<String> {
    let settings = plan.settings;
    let number =
        |path: &str, wanted: Option<i64>| wanted.is_some_and(|wanted| container.number(path) != wanted);
    let text = |path: &str, wanted: &Option<String>| {
        wanted
            .as_ref()
            .is_some_and(|wanted| container.text(path) != wanted)
    };
    let command = plan.command();
    let env = container.texts("/Config/Env");
    let restart = settings.restart.as_ref();
    let differences = [
        (
            "buildkitd-flags",
            !command.is_empty() && container.texts("/Config/Cmd") != command,
        ),
        ("cpu-period", number("/HostConfig/CpuPeriod", settings.cpu_period)),
        ("cpu-quota", number("/HostConfig/CpuQuota", settings.cpu_quota)),
        ("cpu-shares", number("/HostConfig/CpuShares", settings.cpu_shares)),
        (
            "cpuset-cpus",
            text("/HostConfig/CpusetCpus", &settings.cpuset_cpus),
        ),
        (
            "cpuset-mems",
            text("/HostConfig/CpusetMems", &settings.cpuset_mems),
        ),
        (
            "env",
            !settings
                .env
                .iter()
                .all(|(name, value)| env.contains(&format!("{name}={value}").as_str())),
        ),
        (
            "image",
            !is_image(container.text("/Config/Image"), &settings.image),
        ),
        ("memory", number("/HostConfig/Memory", settings.memory)),
        (
            "memory-swap",
            number("/HostConfig/MemorySwap", settings.memory_swap),
        ),
        ("network", text("/HostConfig/NetworkMode", &settings.network)),
        (
            "restart-policy",
            restart.is_some_and(|policy| {
                container.text("/HostConfig/RestartPolicy/Name") != policy.name
                    || container.number("/HostConfig/RestartPolicy/MaximumRetryCount") != policy.maximum
            }),
        ),
    ];
    let differing = differences.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(name, _)| name.to_owned()).collect()
}

/// A verified image is used by its digest, behind the reference that was asked for. Docker Hub may be named or not.
fn is_image(used: &str, wanted: &str) -> bool {
    let short = |reference| str::strip_prefix(reference, "docker.io/").unwrap_or(reference);
    let (used, wanted) = (short(used), short(wanted));
    used.strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("@sha256:"))
}
