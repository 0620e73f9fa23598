//! Keeps `src/gen/` equal to what the definitions in `wire/` generate.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use prost_types::FileDescriptorSet;

fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The definitions in `wire/`, and what they import.
fn descriptors() -> FileDescriptorSet {
    let folder = crate_folder().join("wire");
    let mut compiler = protox::Compiler::new([&folder]).unwrap();
    compiler.include_imports(true).include_source_info(true);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    compiler.open_files(files).unwrap();
    compiler.file_descriptor_set()
}

fn generate_into(folder: &Path) {
    tonic_prost_build::configure()
        .out_dir(folder)
        .bytes(".")
        .btree_map(".")
        // What its frames hold depends on the exporter.
        .extern_path(".moby.filesync.v1.BytesMessage", "crate::Frame")
        .build_transport(false)
        .include_file("packages.rs")
        .compile_fds(descriptors())
        .unwrap();
}

fn sources_in(folder: &Path) -> BTreeMap<String, String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn committed_code_is_what_the_definitions_generate() {
    let fresh = tempfile::tempdir().unwrap();
    generate_into(fresh.path());
    let wanted = sources_in(fresh.path());
    let folder = crate_folder().join("src/gen");
    let committed = sources_in(&folder);
    if committed == wanted {
        return;
    }
    for name in committed.keys().filter(|name| !wanted.contains_key(*name)) {
        fs::remove_file(folder.join(name)).unwrap();
    }
    for (name, text) in &wanted {
        fs::write(folder.join(name), text).unwrap();
    }
    panic!("`proto/src/gen` was out of date and has been written anew: look at the difference and commit it");
}

/// Every method as `/package.Service/Method`.
fn methods() -> Vec<String> {
    let mut methods = Vec::new();
    for file in descriptors().file {
        for service in &file.service {
            for method in &service.method {
                methods.push(format!(
                    "/{}.{}/{}",
                    file.package(),
                    service.name(),
                    method.name()
                ));
            }
        }
    }
    methods.sort();
    methods
}

#[test]
fn methods_have_their_names_on_the_wire() {
    let mut wanted = Vec::new();
    for (service, names) in [
        (
            "containerd.services.content.v1.Content",
            "Abort Delete Info List ListStatuses Read Status Update Write",
        ),
        ("grpc.health.v1.Health", "Check List Watch"),
        ("moby.buildkit.secrets.v1.Secrets", "GetSecret"),
        (
            "moby.buildkit.v1.Control",
            "DiskUsage Info ListWorkers ListenBuildHistory Prune Session Solve Status UpdateBuildHistory",
        ),
        (
            "moby.buildkit.v1.frontend.LLBBridge",
            "Evaluate Inputs Ping ReadDir ReadFile ResolveImageConfig ResolveSourceMeta Return Solve StatFile Warn",
        ),
        ("moby.exporter.v1.Exporter", "FinalizeExport FindExporters"),
        (
            "moby.filesync.v1.Auth",
            "Credentials FetchToken GetTokenAuthority VerifyTokenAuthority",
        ),
        ("moby.filesync.v1.FileSend", "DiffCopy"),
        ("moby.filesync.v1.FileSync", "DiffCopy TarStream"),
        ("moby.sshforward.v1.SSH", "CheckAgent ForwardAgent"),
        ("moby.upload.v1.Upload", "Pull"),
    ] {
        for name in names.split(' ') {
            wanted.push(format!("/{service}/{name}"));
        }
    }
    wanted.sort();
    assert_eq!(methods(), wanted);
}

/// `message field=number` of the fields that a mistake would break silently.
#[test]
fn fields_have_their_numbers_on_the_wire() {
    let mut fields = BTreeMap::new();
    for file in descriptors().file {
        for message in &file.message_type {
            for field in &message.field {
                let name = format!("{}.{}.{}", file.package(), message.name(), field.name());
                fields.insert(name, field.number());
            }
        }
    }
    for (name, number) in [
        ("moby.buildkit.v1.SolveRequest.Definition", 2),
        ("moby.buildkit.v1.SolveRequest.Session", 5),
        ("moby.buildkit.v1.SolveRequest.FrontendAttrs", 7),
        ("moby.buildkit.v1.SolveRequest.Cache", 8),
        ("moby.buildkit.v1.SolveRequest.Entitlements", 9),
        ("moby.buildkit.v1.SolveRequest.Internal", 11),
        ("moby.buildkit.v1.SolveRequest.Exporters", 13),
        ("moby.buildkit.v1.Descriptor.annotations", 5),
        ("moby.buildkit.v1.BuildHistoryRecord.Results", 11),
        ("moby.buildkit.v1.frontend.SolveRequest.allowResultReturn", 5),
        ("moby.buildkit.v1.frontend.SolveRequest.FrontendInputs", 13),
        ("moby.buildkit.v1.frontend.Result.metadata", 10),
        ("moby.buildkit.v1.frontend.Result.attestations", 12),
        ("moby.buildkit.v1.frontend.ReturnRequest.error", 2),
        ("pb.Op.platform", 10),
        ("pb.Meta.ulimit", 9),
        ("pb.Mount.TmpfsOpt", 19),
        ("pb.FileOp.actions", 2),
        ("fsutil.types.Packet.ID", 3),
        ("fsutil.types.Stat.modTime", 6),
        ("containerd.services.content.v1.WriteContentRequest.data", 6),
    ] {
        assert_eq!(fields.get(name), Some(&number), "{name}");
    }
}
