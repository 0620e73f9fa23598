//! Workers of a daemon: platforms, garbage collection, devices.

use std::collections::BTreeMap;
use std::time::Duration;

use bkhost_proto::{pb, worker};

/// One worker of a daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worker {
    /// Its id.
    pub id: String,
    /// Its labels (`org.mobyproject.buildkit.worker.executor` …).
    pub labels: BTreeMap<String, String>,
    /// Platforms in full printed form (`linux/arm/v7`), the native one first.
    pub platforms: Vec<String>,
    /// Rules of garbage collection, in order.
    pub gc_policies: Vec<GcPolicy>,
    /// Devices that steps may ask for.
    pub devices: Vec<Device>,
}

/// One rule of garbage collection. Sizes are bytes; 0 means unset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcPolicy {
    /// Internal and frontend records too.
    pub all: bool,
    /// Which records.
    pub filters: Vec<String>,
    /// Younger ones stay.
    pub keep_duration: Duration,
    /// This much may always be used.
    pub reserved_space: i64,
    /// More than this is never used.
    pub max_used_space: i64,
    /// This much of the disk stays free.
    pub min_free_space: i64,
}

/// One device of the Container Device Interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its full name, such as `vendor.com/gpu=0`.
    pub name: String,
    /// Every build may use it.
    pub auto_allow: bool,
    /// It can be set up when it is first asked for.
    pub on_demand: bool,
    /// What the daemon says about it.
    pub annotations: BTreeMap<String, String>,
}

/// What a daemon says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonVersion {
    /// Import path of the program, which tells forks apart.
    pub package: String,
    /// Version, such as `v0.33.0`.
    pub version: String,
    /// Revision of its source.
    pub revision: String,
}

impl From<worker::BuildkitVersion> for DaemonVersion {
    fn from(version: worker::BuildkitVersion) -> Self {
        Self {
            package: version.package,
            version: version.version,
            revision: version.revision,
        }
    }
}

impl From<worker::WorkerRecord> for Worker {
    fn from(record: worker::WorkerRecord) -> Self {
        Self {
            id: record.id,
            labels: record.labels,
            platforms: record.platforms.iter().map(printed).collect(),
            gc_policies: record.gc_policy.into_iter().map(Into::into).collect(),
            devices: record.cdi_devices.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<worker::GcPolicy> for GcPolicy {
    fn from(policy: worker::GcPolicy) -> Self {
        Self {
            all: policy.all,
            filters: policy.filters,
            keep_duration: Duration::from_nanos(policy.keep_duration.try_into().unwrap_or(0)),
            reserved_space: policy.reserved_space,
            max_used_space: policy.max_used_space,
            min_free_space: policy.min_free_space,
        }
    }
}

impl From<worker::CdiDevice> for Device {
    fn from(device: worker::CdiDevice) -> Self {
        Self {
            name: device.name,
            auto_allow: device.auto_allow,
            on_demand: device.on_demand,
            annotations: device.annotations,
        }
    }
}

/// `os[(version[+feature…])]/architecture[/variant]`; the two variants that are their architecture's default are left
/// out.
fn printed(platform: &pb::Platform) -> String {
    let mut text = platform.os.clone();
    let mut system = platform.os_version.clone();
    for feature in &platform.os_features {
        system.push('+');
        system.push_str(feature);
    }
    if !system.is_empty() {
        text.push_str(&format!("({system})"));
    }
    text.push('/');
    text.push_str(&platform.architecture);
    let variant = match (platform.architecture.as_str(), platform.variant.as_str()) {
        ("amd64", "v1") | ("arm64", "v8") => "",
        (_, variant) => variant,
    };
    if !variant.is_empty() {
        text.push('/');
        text.push_str(variant);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(os: &str, architecture: &str, variant: &str) -> pb::Platform {
        pb::Platform {
            os: os.into(),
            architecture: architecture.into(),
            variant: variant.into(),
            ..Default::default()
        }
    }

    #[test]
    fn platforms_are_printed_in_full() {
        assert_eq!(printed(&platform("linux", "amd64", "")), "linux/amd64");
        assert_eq!(printed(&platform("linux", "amd64", "v3")), "linux/amd64/v3");
        assert_eq!(printed(&platform("linux", "arm64", "v8")), "linux/arm64");
        assert_eq!(printed(&platform("linux", "arm", "v7")), "linux/arm/v7");
        let mut windows = platform("windows", "amd64", "");
        windows.os_version = "10.0.20348".into();
        assert_eq!(printed(&windows), "windows(10.0.20348)/amd64");
    }
}
