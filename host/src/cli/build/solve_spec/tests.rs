use super::loading::LoadTarget;
use super::*;
use crate::buildkit::session::SessionFailure;
use crate::buildkit::spec::{
    Archive, Credential, ExportTarget, Exporter, ReceiveArchive, Receiver, StandardOutput,
};
use crate::cli::build::args::BuildArgs;
use crate::cli::build::inputs::{Wanted, load};
use crate::cli::build::request::{Surroundings, TypedBuild};
use crate::docker::load::ImageStore;
use async_trait::async_trait;
use clap::{Args as _, Command, FromArgMatches as _};
use std::path::{Path, PathBuf};

struct Nobody;

#[async_trait]
impl RegistryCredentials for Nobody {
    async fn credentials(&self, _: &str) -> Result<Credential, String> {
        Ok(Credential::default())
    }

    fn seed_folder(&self) -> Option<PathBuf> {
        None
    }
}

const CAPS: &[&str] = &["exporter.image.attestations", "exporter.multiple", "cache.gha"];

struct Case {
    abilities: BTreeMap<String, String>,
    caps: BTreeSet<String>,
    platforms: Vec<Platform>,
    proxies: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    able_driver: Option<&'static str>,
    loads: Loads,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            abilities: BTreeMap::new(),
            caps: CAPS.iter().map(|cap| (*cap).to_owned()).collect(),
            platforms: Vec::new(),
            proxies: BTreeMap::new(),
            environment: BTreeMap::new(),
            able_driver: None,
            loads: Loads::new(),
        }
    }
}

/// Nobody loads anything here.
struct NoEngine;

#[async_trait]
impl ReceiveArchive for NoEngine {
    async fn receive(&self, _: Archive) -> Result<(), SessionFailure> {
        Ok(())
    }
}

const CLASSIC: &[(&str, &str)] = &[
    ("oci-exporter", "false"),
    ("docker-exporter", "false"),
    ("cache-export", "false"),
    ("multi-platform", "false"),
    ("direct-push", "false"),
    ("prefer-image-digest", "false"),
    ("default-load", "true"),
    ("exporter", "moby"),
];
const CONTAINERD: &[(&str, &str)] = &[
    ("multi-platform", "true"),
    ("direct-push", "true"),
    ("prefer-image-digest", "true"),
    ("default-load", "true"),
    ("exporter", "moby"),
];

impl Case {
    fn able(mut self, key: &str, value: &str) -> Self {
        self.abilities.insert(key.into(), value.into());
        self
    }

    /// The daemon of an engine.
    fn of_engine(abilities: &[(&str, &str)]) -> Self {
        let able = |case: Self, (key, value): &(&str, &str)| case.able(key, value);
        let mut case = abilities.iter().fold(Self::default(), able);
        case.loads.insert(String::new(), LoadTarget::Own);
        case
    }

    /// A daemon beside an engine with such a store, the one of the docker context `context`.
    fn beside(mut self, context: &str, store: ImageStore) -> Self {
        let receiver = Receiver::new(NoEngine);
        let target = LoadTarget::Other { store, receiver };
        self.loads.insert(context.into(), target);
        self
    }

    fn exporters(&self, arguments: &[&str]) -> Vec<String> {
        let exporters = self.spec(arguments).unwrap().exporters;
        let line = |e: Exporter| format!("{} {:?} {:?}", e.kind, e.attributes, e.target);
        exporters.into_iter().map(line).collect()
    }

    fn without_caps(mut self) -> Self {
        self.caps.clear();
        self
    }

    fn variable(mut self, key: &str, value: &str) -> Self {
        self.environment.insert(key.into(), value.into());
        self
    }

    fn on(mut self, platforms: &[&str]) -> Self {
        self.platforms = platforms
            .iter()
            .map(|platform| platform.parse().unwrap())
            .collect();
        self
    }

    /// Composes the solve of `bkhost build ARGUMENTS FOLDER`; a refusal in its words.
    fn spec(&self, arguments: &[&str]) -> Result<SolveSpec, String> {
        self.composed(arguments).map_err(|error| error.to_string())
    }

    fn composed(&self, arguments: &[&str]) -> Result<SolveSpec, ValueError> {
        let folder = tempfile::Builder::new().prefix("src").tempdir().unwrap();
        let folder = folder.path().join("app");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("Dockerfile"), "FROM scratch").unwrap();
        let command = BuildArgs::augment_args(Command::new("build"));
        let words = ["build"].iter().chain(arguments).map(|word| (*word).to_owned());
        let words = words.chain([folder.display().to_string()]);
        let args = BuildArgs::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap();
        let variables = self.environment.clone();
        let environment = move |name: &str| variables.get(name).cloned();
        let typed = TypedBuild::parse(args, &environment)?;
        let surroundings = Surroundings {
            environment: &environment,
            working_folder: Path::new("/"),
            terminal: false,
        };
        let request = BuildRequest::resolve(typed, surroundings)?;
        let wanted = Wanted {
            context: &request.context,
            dockerfile: &request.dockerfile,
            named: &request.named_contexts,
            needs_dockerfile: true,
        };
        let inputs = load(wanted, &mut std::io::empty())?;
        let node = NodeFacts {
            driver: "remote",
            able_driver: self.able_driver,
            abilities: &self.abilities,
            llb_caps: &self.caps,
            platforms: &self.platforms,
            proxies: &self.proxies,
            installation: "0123",
            loads: &self.loads,
        };
        let source_control = [("vcs:revision".to_owned(), "abc".to_owned())].into();
        compose(
            &request,
            &inputs,
            &source_control,
            &node,
            Arc::new(Nobody),
            StandardOutput::default(),
        )
    }

    /// The attributes that differ from those of a build without any flag.
    fn attributes(&self, arguments: &[&str]) -> Vec<String> {
        let plain = Case::default().spec(&[]).unwrap().attributes;
        let with = self.spec(arguments).unwrap().attributes;
        let mut lines: Vec<String> = with
            .iter()
            .filter(|(key, value)| plain.get(*key) != Some(value))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        lines.extend(
            plain
                .keys()
                .filter(|key| !with.contains_key(*key))
                .map(|key| format!("-{key}")),
        );
        lines
    }

    fn refusal(&self, arguments: &[&str]) -> String {
        self.spec(arguments).map(|_| ()).unwrap_err()
    }
}

#[test]
fn a_plain_build_has_few_attributes() {
    let spec = Case::default().spec(&[]).unwrap();
    let lines: Vec<String> = spec
        .attributes
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(
        lines,
        [
            "attest:provenance=mode=min,inline-only=true",
            "filename=Dockerfile",
            "vcs:revision=abc"
        ]
    );
    assert_eq!(spec.frontend, "dockerfile.v0");
    assert_eq!(spec.reference.len(), 25);
    assert_eq!(spec.session.shared_key, "app:0123");
    assert_eq!(
        spec.session.mounts.keys().collect::<Vec<_>>(),
        ["context", "dockerfile"]
    );
    assert!(spec.exporters.is_empty());
}

#[test]
fn flags_become_attributes() {
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["--build-arg", "A=1", "--label", "l=v"],
            &["build-arg:A=1", "label:l=v"],
        ),
        (&["--target", "x"], &["target=x"]),
        (&["--no-cache"], &["no-cache="]),
        (
            &["--no-cache-filter", "a", "--no-cache-filter=b"],
            &["no-cache=a,b"],
        ),
        (&["--pull"], &["image-resolve-mode=pull"]),
        (&["--add-host", "a:1.2.3.4"], &["add-hosts=a=1.2.3.4"]),
        (&["--ulimit", "nofile=1:2"], &["ulimit=nofile=1:2"]),
        (&["--shm-size", "1m"], &["shm-size=1048576"]),
        (&["--network", "none"], &["force-network-mode=none"]),
        (&["--cgroup-parent", "x"], &["cgroup-parent=x"]),
        (&["--provenance", "false"], &["-attest:provenance"]),
        (&["--provenance", "true"], &["attest:provenance=type=provenance"]),
        (&["--sbom", "true"], &["attest:sbom=type=sbom"]),
        (
            &["--build-arg", "BUILDKIT_SYNTAX=my/frontend:1 extra"],
            &[
                "build-arg:BUILDKIT_SYNTAX=my/frontend:1 extra",
                "cmdline=my/frontend:1 extra",
                "source=my/frontend:1",
            ],
        ),
        (
            &["--build-arg", "BUILDKIT_MULTI_PLATFORM=1"],
            &["build-arg:BUILDKIT_MULTI_PLATFORM=1", "multi-platform=true"],
        ),
        (
            &["--build-context", "base=docker-image://x"],
            &[
                "context:base=docker-image://x",
                "frontend.caps=moby.buildkit.frontend.contexts+forward",
            ],
        ),
    ];
    for (arguments, expected) in cases {
        assert_eq!(Case::default().attributes(arguments), *expected, "{arguments:?}");
    }
}

#[test]
fn platforms_are_those_of_the_node() {
    let case = Case::default().on(&["linux/arm/v7", "linux/amd64"]);
    assert_eq!(case.attributes(&[]), ["platform=linux/arm/v7,linux/amd64"]);
    assert_eq!(
        case.able("multi-platform", "false")
            .refusal(&[])
            .lines()
            .next()
            .unwrap(),
        "Multi-platform build is not supported for the remote driver."
    );
}

#[test]
fn provenance_is_left_out_where_it_cannot_be() {
    assert_eq!(
        Case::default().without_caps().attributes(&[]),
        ["-attest:provenance"]
    );
    assert_eq!(
        Case::default()
            .variable("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
            .attributes(&[]),
        ["-attest:provenance"]
    );
    assert_eq!(
        Case::default().without_caps().refusal(&["--sbom=true"]),
        "Attestations are not supported by the current BuildKit daemon"
    );
    assert_eq!(
        Case::default()
            .able("multi-platform", "false")
            .refusal(&["--sbom=true"]),
        "Attestation is not supported for the remote driver.\nSwitch to a different driver, or turn on the containerd image store, and try again.\nLearn more at https://docs.docker.com/go/attestations/"
    );
}

#[test]
fn proxies_yield_to_arguments_of_any_case() {
    let case = Case {
        proxies: [("HTTP_PROXY".into(), "p".into()), ("NO_PROXY".into(), "n".into())].into(),
        ..Case::default()
    };
    assert_eq!(
        case.attributes(&["--build-arg", "http_proxy=mine"]),
        ["build-arg:NO_PROXY=n", "build-arg:http_proxy=mine"]
    );
}

#[test]
fn host_networking_needs_its_entitlement() {
    let spec = Case::default()
        .spec(&["--network=host", "--allow", "security.insecure"])
        .unwrap();
    assert_eq!(spec.entitlements, ["security.insecure", "network.host"]);
    assert_eq!(spec.attributes["force-network-mode"], "host");
}

#[test]
fn outputs_become_exporters() {
    let spec = Case::default()
        .spec(&[
            "-t",
            "a",
            "-t",
            "b:1",
            "--push",
            "-o",
            "type=oci,dest=/tmp/x-none",
            "-o",
            "type=cacheonly",
        ])
        .unwrap();
    let lines: Vec<String> = spec
        .exporters
        .iter()
        .map(|e| format!("{} {:?} {:?}", e.kind, e.attributes, e.target))
        .collect();
    assert_eq!(
        lines,
        [
            r#"oci {"name": "a,b:1"} File("/tmp/x-none")"#,
            r#"image {"name": "a,b:1", "push": "true", "unpack": "false"} None"#,
        ]
    );
    let folder = Case::default().spec(&["-o", "/tmp/x-none", "-t", "a"]).unwrap();
    assert_eq!(
        folder.exporters[0].target,
        ExportTarget::Folder {
            path: "/tmp/x-none".into(),
            delete: false
        }
    );
    assert!(folder.exporters[0].attributes.is_empty());
}

#[test]
fn switches_and_arguments_change_image_exporters() {
    let case = Case::default().variable("BUILDX_NO_DEFAULT_OCI_ARTIFACT", "true");
    let spec = case
        .spec(&[
            "-o",
            "type=image,name=a",
            "--build-arg=BUILDKIT_INLINE_BUILDINFO_ATTRS=1",
        ])
        .unwrap();
    assert_eq!(spec.exporters[0].attributes["oci-artifact"], "false");
    assert_eq!(spec.exporters[0].attributes["buildinfo-attrs"], "1");
    let kept = case.spec(&["-o", "type=image,name=a,oci-artifact=true"]).unwrap();
    assert_eq!(kept.exporters[0].attributes["oci-artifact"], "true");
}

#[test]
fn refusals_of_exporters_have_the_known_texts() {
    let archive = ["-o", "type=docker,dest=/tmp/x-none"];
    for (case, arguments, text) in [
        (
            Case::default().without_caps(),
            &["--provenance=false", "-o", "/tmp/x1", "-o", "/tmp/x2"][..],
            "multiple outputs currently unsupported by the current BuildKit daemon, please upgrade to version v0.13+ or use a single output",
        ),
        (
            Case::default().able("oci-exporter", "false"),
            &["-o", "type=oci,dest=/tmp/x-none"],
            "OCI exporter is not supported for the remote driver.",
        ),
        (
            Case::default().able("docker-exporter", "false"),
            &archive,
            "Docker exporter is not supported for the remote driver.",
        ),
        (
            Case::default().on(&["linux/amd64", "linux/arm64"]),
            &archive,
            "docker exporter does not support exporting manifest lists, use the oci exporter instead",
        ),
        (
            Case::default(),
            &["--sbom=true", "-o", "type=docker,dest=/tmp/x-none"],
            "docker exporter does not support exporting manifest lists, use the oci exporter instead",
        ),
        (
            Case::default()
                .on(&["linux/amd64", "linux/arm64"])
                .beside("", ImageStore::Classic),
            &["--load"],
            "docker exporter does not currently support exporting manifest lists",
        ),
        (
            Case::default().beside("", ImageStore::Classic),
            &["--load", "--sbom=true"],
            "docker exporter does not currently support exporting manifest lists",
        ),
        (
            Case::of_engine(CLASSIC).on(&["linux/amd64", "linux/arm64"]),
            &["--load"],
            "docker exporter does not currently support exporting manifest lists",
        ),
        (
            Case::of_engine(CLASSIC).on(&["linux/amd64", "linux/arm64"]),
            &[],
            "Multi-platform build is not supported for the remote driver.",
        ),
        (
            Case::of_engine(CLASSIC).beside("other", ImageStore::Classic),
            &["--output=type=docker,context=other"],
            "Docker exporter is not supported for the remote driver.",
        ),
        (
            Case::of_engine(CLASSIC),
            &["--annotation=index:a=b", "-o", "type=image"],
            "index annotations not supported for single platform export",
        ),
        (
            Case::of_engine(CONTAINERD),
            &["-o", "type=image,name=a,push=true,push-by-digest=true"],
            "push-by-digest is currently not implemented for remote driver, please create a new builder instance",
        ),
        (
            Case::default().able("cache-export", "false"),
            &["--cache-to", "a/b"],
            "Cache export is not supported for the remote driver.",
        ),
        (
            Case::of_engine(CLASSIC).able("host-gateway", ""),
            &["--add-host", "a:host-gateway"],
            "unable to derive the IP value for host-gateway: host-gateway IP not found",
        ),
        (
            Case::default(),
            &["--add-host", "a:host-gateway"],
            "unable to derive the IP value for host-gateway: host-gateway is not supported by the remote driver",
        ),
    ] {
        assert_eq!(
            case.refusal(arguments).lines().next().unwrap(),
            text,
            "{arguments:?}"
        );
    }
}

#[test]
fn a_load_has_the_form_that_the_engine_takes() {
    let classic = Case::default().beside("", ImageStore::Classic);
    assert_eq!(
        classic.exporters(&["--load", "-t", "a"]),
        [r#"docker {"name": "a"} Receiver(Receiver)"#]
    );
    let containerd = Case::default()
        .on(&["linux/amd64", "linux/arm64"])
        .beside("there", ImageStore::Containerd);
    assert_eq!(
        containerd.exporters(&["-o", "type=docker,context=there", "--sbom=true"]),
        [r#"oci {"prefer-image-digest": "true"} Receiver(Receiver)"#]
    );
    let loading = Case::default()
        .able("default-load", "true")
        .beside("", ImageStore::Classic);
    assert_eq!(loading.exporters(&[]), ["docker {} Receiver(Receiver)"]);
}

#[test]
fn an_engines_own_daemon_transfers_nothing() {
    let classic = Case::of_engine(CLASSIC);
    let containerd = Case::of_engine(CONTAINERD).on(&["linux/amd64", "linux/arm64"]);
    for arguments in [
        &[][..],
        &["--load"],
        &["-o", "type=image"],
        &["-o", "type=docker"],
    ] {
        assert_eq!(classic.exporters(arguments), ["moby {} None"], "{arguments:?}");
        let named = [arguments, &["-t", "a"]].concat();
        assert_eq!(
            containerd.exporters(&named),
            [r#"moby {"name": "a", "prefer-image-digest": "true"} None"#],
            "{arguments:?}"
        );
    }
    assert_eq!(
        classic.spec(&[]).unwrap().attributes["image-resolve-mode"],
        "local"
    );
    let elsewhere = Case::of_engine(CONTAINERD).beside("there", ImageStore::Classic);
    assert_eq!(
        elsewhere.exporters(&["-o", "type=docker,context=there"]),
        ["docker {} Receiver(Receiver)"]
    );
    let pushed = ["--push", "-t", "r/a"];
    assert_eq!(
        classic.exporters(&pushed),
        [r#"moby {"name": "r/a", "push": "true", "unpack": "false"} None"#]
    );
}

#[test]
fn a_default_load_yields_to_any_output() {
    let case = Case::default().able("default-load", "true");
    assert_eq!(case.spec(&["-o", "type=cacheonly"]).unwrap().exporters, []);
    let switched = Case::default()
        .able("default-load", "true")
        .variable("BUILDX_NO_DEFAULT_LOAD", "1");
    assert_eq!(switched.spec(&[]).unwrap().exporters, []);
}

#[test]
fn caches_are_sent_as_the_daemon_knows_them() {
    let spec = Case::default()
        .variable("ACTIONS_RUNTIME_TOKEN", "t")
        .variable("ACTIONS_RESULTS_URL", "u")
        .spec(&[
            "--cache-from=a/b",
            "--cache-from=type=gha",
            "--cache-from=type=s3,bucket=x",
            "--cache-to=type=inline",
            "--build-arg=BUILDKIT_INLINE_CACHE=1",
        ])
        .unwrap();
    let kinds = |list: &[CacheEntry]| list.iter().map(|entry| entry.kind.clone()).collect::<Vec<_>>();
    assert_eq!(kinds(&spec.cache_imports), ["registry", "gha"]);
    assert_eq!(kinds(&spec.cache_exports), ["inline", "inline"]);
}

#[test]
fn refusals_name_the_driver_that_can_where_there_is_one() {
    for arguments in [
        &["-o", "type=oci,dest=a"][..],
        &["-o", "type=image,name=a,push=true,push-by-digest=true"],
    ] {
        for able_driver in [Some("other"), None] {
            let case = Case {
                able_driver,
                ..Case::of_engine(CLASSIC)
            };
            let refused = crate::error::CommandError::from(case.composed(arguments).err().unwrap());
            let hint = able_driver
                .map(|name| format!("`bkhost create --driver {name} --use` makes a builder that can"));
            assert_eq!(refused.hints(), hint.as_slice(), "{refused}");
        }
    }
}
