//! What buildx can load: the drivers and options it knows, so that nothing else gets into files that it reads.
//!
//! This is the only place that knows drivers by name: what buildx writes and reads is a fact that no driver can tell.
//! One foreign driver or option in `instances/` breaks listings of
//! buildx (`ls`, `rm --all-inactive`).

use std::collections::BTreeMap;

/// The driver of builders that stand for docker contexts; never stored.
pub const CONTEXT_DRIVER: &str = "docker";
/// The driver of the implicit builder on a machine that has nothing else; never stored.
pub const IMPLICIT_DRIVER: &str = "process";

/// A driver of buildx, as far as files are concerned that buildx reads.
struct BuildxDriver {
    name: &'static str,
    /// Options of its stored builders, a name that ends in `.` standing for all with that prefix. `None` when none are
    /// stored: buildx refuses to load one.
    options: Option<&'static [&'static str]>,
    /// Options that buildx accepts with these values only.
    values: &'static [(&'static str, &'static [&'static str])],
    /// `create` lets its daemons use the host's network unless the user says something about entitlements.
    host_network: bool,
}

/// The drivers of buildx: a fact of the shared file format, and the only list of drivers in this program. Nothing else
/// follows from a driver's name.
const BUILDX_DRIVERS: [BuildxDriver; 4] = [
    BuildxDriver {
        name: CONTEXT_DRIVER,
        options: None,
        values: &[],
        host_network: false,
    },
    BuildxDriver {
        name: "docker-container",
        options: Some(&[
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
        values: &[],
        host_network: true,
    },
    BuildxDriver {
        name: "kubernetes",
        options: Some(&[
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
        values: &[("loadbalance", &["sticky", "random"])],
        host_network: true,
    },
    BuildxDriver {
        name: "remote",
        options: Some(&["cacert", "cert", "key", "servername", "default-load"]),
        values: &[],
        host_network: false,
    },
];

impl BuildxDriver {
    fn named(name: &str) -> Option<&'static Self> {
        BUILDX_DRIVERS.iter().find(|driver| driver.name == name)
    }

    fn takes(&self, option: &str) -> bool {
        let fits = |name: &&str| *name == option || (name.ends_with('.') && option.starts_with(name));
        self.options.unwrap_or_default().iter().any(fits)
    }

    fn takes_value(&self, option: &str, value: &str) -> bool {
        let only = self.values.iter().find(|(name, _)| *name == option);
        only.is_none_or(|(_, values)| values.contains(&value))
    }
}

/// Whether buildx can load a stored builder of this driver.
pub fn is_shared(driver: &str) -> bool {
    BuildxDriver::named(driver).is_some_and(|known| known.options.is_some())
}

/// Whether builders of this driver can be stored at all: not those of which buildx stores none, because it means
/// something else by the name.
pub fn is_storable(driver: &str) -> bool {
    BuildxDriver::named(driver).is_none_or(|known| known.options.is_some())
}

/// Whether buildx accepts this option of this driver with this value.
pub fn is_shared_option(driver: &str, option: &str, value: &str) -> bool {
    BuildxDriver::named(driver).is_some_and(|known| known.takes(option) && known.takes_value(option, value))
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
    let Some(known) = BuildxDriver::named(driver).filter(|known| known.host_network) else {
        return flags;
    };
    let host_network = known.takes("network")
        && options.get("network").map(String::as_str) == Some("host")
        && !allowed.contains(&HOST_NETWORK);
    let by_default = allowed.is_empty() && !entitled;
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
        assert!(!is_shared_option("docker", "image", "x") && !is_shared_option("process", "root", "x"));
    }

    #[test]
    fn of_every_driver_but_one_of_buildx_builders_are_stored() {
        let facts = |name| (is_shared(name), is_storable(name));
        for name in ["docker-container", "kubernetes", "remote"] {
            assert_eq!(facts(name), (true, true), "{name}");
        }
        assert_eq!(facts(CONTEXT_DRIVER), (false, false));
        for name in [IMPLICIT_DRIVER, "docker-cloud", "nobody-knows"] {
            assert_eq!(facts(name), (false, true), "{name}");
        }
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
