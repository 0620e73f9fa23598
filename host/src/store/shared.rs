//! What buildx can load: the drivers and options it knows, so that nothing else gets into files that it reads.
//!
//! This is the only place that knows drivers by name. One foreign driver or option in `instances/` breaks listings of
//! buildx (`ls`, `rm --all-inactive`).

use std::collections::BTreeMap;

/// The driver of builders that stand for docker contexts; never stored.
pub const CONTEXT_DRIVER: &str = "docker";
/// The driver of the implicit builder on a machine that has nothing else; never stored.
pub const IMPLICIT_DRIVER: &str = "process";

const CONTAINER: &str = "docker-container";
const KUBERNETES: &str = "kubernetes";
const REMOTE: &str = "remote";

/// Whether buildx can load a stored builder of this driver.
pub fn is_shared(driver: &str) -> bool {
    known_options(driver).is_some()
}

/// Whether builders of this driver can be stored at all. One that stands for docker contexts cannot: every context is
/// a builder already.
pub fn is_storable(driver: &str) -> bool {
    driver != CONTEXT_DRIVER
}

/// Options of a driver that buildx accepts, or `None` for a driver that it does not know.
fn known_options(driver: &str) -> Option<&'static [&'static str]> {
    match driver {
        CONTAINER => Some(&[
            "image",
            "network",
            "memory",
            "memory-swap",
            "cpu-period",
            "cpu-quota",
            "cpu-shares",
            "cpuset-cpus",
            "cpuset-mems",
            "cgroup-parent",
            "restart-policy",
            "default-load",
            "env.",
            "provenance-add-gha",
            "allow-untrusted-image",
        ]),
        KUBERNETES => Some(&[
            "image",
            "namespace",
            "replicas",
            "requests.cpu",
            "requests.memory",
            "requests.ephemeral-storage",
            "limits.cpu",
            "limits.memory",
            "limits.ephemeral-storage",
            "persistent-volume-claim.requests.storage",
            "rootless",
            "schedulername",
            "serviceaccount",
            "nodeselector",
            "annotations",
            "labels",
            "tolerations",
            "loadbalance",
            "qemu.install",
            "qemu.image",
            "buildkit-root-volume-memory",
            "default-load",
            "timeout",
            "env.",
        ]),
        REMOTE => Some(&["cacert", "cert", "key", "servername", "default-load"]),
        _ => None,
    }
}

/// Whether buildx accepts this option of this driver with this value.
pub fn is_shared_option(driver: &str, option: &str, value: &str) -> bool {
    let known = known_options(driver).unwrap_or_default();
    if driver == KUBERNETES && option == "loadbalance" {
        return matches!(value, "sticky" | "random");
    }
    known
        .iter()
        .any(|name| *name == option || (name.ends_with('.') && option.starts_with(name)))
}

const ALLOW_FLAG: &str = "--allow-insecure-entitlement";
const HOST_NETWORK: &str = "network.host";

/// The buildkitd arguments to store for what the user typed (`flags`): buildx adds the entitlement for the host's
/// network to its container drivers unless the user said anything about entitlements.
///
/// `entitled` is whether the node's buildkitd configuration grants it already. `None` means "leave what is stored".
pub fn stored_flags(
    driver: &str,
    flags: Option<Vec<String>>,
    options: &BTreeMap<String, String>,
    entitled: bool,
) -> Option<Vec<String>> {
    let given = flags.as_deref().unwrap_or_default();
    let allowed = allowed_entitlements(given);
    let host_network = driver == CONTAINER
        && options.get("network").map(String::as_str) == Some("host")
        && !allowed.contains(&HOST_NETWORK);
    let by_default = matches!(driver, CONTAINER | KUBERNETES) && allowed.is_empty() && !entitled;
    if !host_network && !by_default {
        return flags;
    }
    let mut stored = flags.unwrap_or_default();
    stored.push(format!("{ALLOW_FLAG}={HOST_NETWORK}"));
    Some(stored)
}

fn allowed_entitlements(flags: &[String]) -> Vec<&str> {
    let mut allowed = Vec::new();
    let mut rest = flags.iter();
    while let Some(flag) = rest.next() {
        let value = match flag.strip_prefix(ALLOW_FLAG) {
            Some("") => rest.next().map(String::as_str),
            Some(value) => value.strip_prefix('='),
            None => None,
        };
        allowed.extend(value.into_iter().flat_map(|list| list.split(',')));
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_known_by_name_prefix_and_value() {
        assert!(is_shared_option("kubernetes", "env.A", "x"));
        assert!(is_shared_option("kubernetes", "loadbalance", "random"));
        assert!(!is_shared_option("kubernetes", "loadbalance", "sticky:team"));
        assert!(!is_shared_option("remote", "image", "x"));
        assert!(!is_shared("process") && is_shared("remote") && !is_shared("docker"));
    }

    #[test]
    fn container_drivers_allow_the_host_network_by_default() {
        let none = BTreeMap::new();
        let host = BTreeMap::from([("network".to_owned(), "host".to_owned())]);
        let flag = "--allow-insecure-entitlement=network.host".to_owned();
        assert_eq!(
            stored_flags("kubernetes", None, &none, false),
            Some(vec![flag.clone()])
        );
        assert_eq!(stored_flags("kubernetes", None, &none, true), None);
        assert_eq!(
            stored_flags("docker-container", None, &host, true),
            Some(vec![flag.clone()])
        );
        let insecure = vec![ALLOW_FLAG.to_owned(), "security.insecure".to_owned()];
        assert_eq!(
            stored_flags("docker-container", Some(insecure.clone()), &none, false),
            Some(insecure)
        );
        assert_eq!(stored_flags("remote", None, &none, false), None);
        assert_eq!(stored_flags("process", None, &none, false), None);
    }
}
