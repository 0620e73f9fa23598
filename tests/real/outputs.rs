//! What a build leaves behind.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use bkhost_test_support::daemon::Daemon;
use bkhost_test_support::server::free_port;
use bkhost_test_support::source::bare;
use bkhost_test_support::user::OrdinaryUser;

use crate::harness::{Remote, build, context_of};

const SOURCE: &str = "FROM scratch\nCOPY Dockerfile /copied\n";

/// Names in a tar archive.
fn names(archive: &[u8]) -> BTreeSet<String> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect()
}

/// A JSON file in a tar archive.
fn json(archive: &[u8], name: &str) -> Value {
    let mut archive = tar::Archive::new(archive);
    let mut entry = archive
        .entries()
        .unwrap()
        .map(Result::unwrap)
        .find(|entry| entry.path().unwrap() == Path::new(name))
        .unwrap_or_else(|| panic!("no `{name}` in the archive"));
    let mut text = String::new();
    entry.read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// As a user for whom modes count.
#[test]
fn folders_that_are_closed_to_their_owner_are_exported_again_and_again() {
    let port = free_port();
    let address = format!("tcp://127.0.0.1:{port}");
    let _daemon = Daemon::start_with(&["--addr", &address]);
    let context = context_of(&OrdinaryUser::new());
    let create = ["create", "--driver", "remote", "--name", "b", "--use", &address];
    context.bkhost(create).run().succeeds();
    let folder = bare(&context, "source", "FROM scratch\nCOPY --chmod=0500 d /d\n");
    std::fs::create_dir_all(folder.join("d/deep")).unwrap();
    for text in ["one", "two"] {
        std::fs::write(folder.join("d/deep/file"), text).unwrap();
        build(&context, &folder)
            .args(["--output", "out"])
            .run()
            .succeeds();
        assert_eq!(context.read("out/d/deep/file"), text);
        for closed in ["out/d", "out/d/deep", "out/d/deep/file"] {
            let mode = context
                .work()
                .join(closed)
                .metadata()
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o7777, 0o500, "{closed}");
        }
    }
}

#[test]
fn several_results_of_one_build() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", SOURCE);
    let outputs = [
        "type=local,dest=out/folder",
        "type=tar,dest=out/files.tar",
        "type=oci,dest=out/oci.tar",
        "type=docker,dest=out/docker.tar",
    ];
    let call = outputs.iter().fold(remote.build(&folder), |call, output| {
        call.args(["--output", output])
    });
    call.args(["--tag", "app:1", "--tag", "app:2"]).run().succeeds();
    assert_eq!(remote.context.read("out/folder/copied"), SOURCE);
    let read = |name: &str| std::fs::read(remote.context.work().join("out").join(name)).unwrap();
    assert!(names(&read("files.tar")).contains("copied"));
    let oci = read("oci.tar");
    assert!(names(&oci).contains("oci-layout"));
    let index = json(&oci, "index.json");
    let tags: BTreeSet<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["annotations"]["io.containerd.image.name"].as_str())
        .collect();
    assert_eq!(
        tags,
        BTreeSet::from(["docker.io/library/app:1", "docker.io/library/app:2"])
    );
    let manifest = json(&read("docker.tar"), "manifest.json");
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!(["app:1", "app:2"]));
}

#[test]
fn an_image_layout_in_a_folder() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", SOURCE);
    let output = "type=oci,dest=layout,tar=false";
    remote
        .build(&folder)
        .args(["--output", output, "-t", "app:1", "--provenance=true"])
        .run()
        .succeeds();
    let index: Value = serde_json::from_str(&remote.context.read("layout/index.json")).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let blob = format!("layout/blobs/{}", digest.replace(':', "/"));
    let inner: Value = serde_json::from_str(&remote.context.read(&blob)).unwrap();
    // The image and its provenance.
    assert_eq!(inner["manifests"].as_array().unwrap().len(), 2, "{inner}");
    let kind = &inner["manifests"][1]["annotations"]["vnd.docker.reference.type"];
    assert_eq!(kind, "attestation-manifest");
    assert!(remote.context.work().join("layout/oci-layout").exists());
}

#[test]
fn a_folder_named_alone_is_a_local_result() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", SOURCE);
    remote.build(&folder).args(["-o", "out"]).run().succeeds();
    assert_eq!(remote.context.read("out/copied"), SOURCE);
}

#[test]
fn a_dash_is_an_archive_on_standard_output() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", SOURCE);
    let built = remote.build(&folder).args(["-o", "-"]).run().succeeds();
    assert!(names(built.bytes()).contains("copied"));
    let built = remote
        .build(&folder)
        .args(["-o", "type=oci,dest=-"])
        .run()
        .succeeds();
    assert!(names(built.bytes()).contains("index.json"));
    let twice = ["-o", "type=oci,dest=-", "-o", "type=tar,dest=-"];
    let refused = remote.build(&folder).args(twice).run().fails(1);
    refused.says("multiple outputs configured to write to stdout");
}

#[test]
fn ids_in_files_and_on_standard_output_are_the_same() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", SOURCE);
    let image = ["-o", "type=oci,dest=a.tar", "--provenance=false"];
    let files = ["--iidfile", "id", "--metadata-file", "meta/data.json"];
    remote.context.write("meta/keep", "");
    let quiet = remote
        .build(&folder)
        .args(image)
        .args(files)
        .arg("--quiet")
        .run()
        .succeeds();
    assert_eq!(quiet.stderr(), "");
    let id = remote.context.read("id");
    assert_eq!(quiet.stdout(), format!("{id}\n"));
    assert!(id.starts_with("sha256:"), "{id}");
    let text = remote.context.read("meta/data.json");
    assert!(text.starts_with("{\n  \"") && text.ends_with("\n}"), "{text}");
    let metadata: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(metadata["containerimage.config.digest"], *id);
    assert_eq!(
        metadata["containerimage.descriptor"]["digest"],
        metadata["containerimage.digest"]
    );
    let reference = metadata["buildx.build.ref"].as_str().unwrap();
    assert!(reference.starts_with("b/b0/"), "{reference}");
    let provenance = &metadata["buildx.build.provenance"];
    assert!(
        provenance["buildType"].as_str().unwrap().contains("buildkit"),
        "{text}"
    );
}

#[test]
fn provenance_is_in_an_archive_only_when_it_is_asked_for() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", SOURCE);
    let manifests = |flags: &[&str]| {
        let built = remote.build(&folder).args(["-o", "type=oci,dest=-"]).args(flags);
        let index = json(built.run().succeeds().bytes(), "index.json");
        index["manifests"][0]["mediaType"].as_str().unwrap().to_owned()
    };
    // What is added without being asked for is for registries alone.
    assert_eq!(manifests(&[]), "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(
        manifests(&["--provenance=false"]),
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(
        manifests(&["--provenance=mode=max"]),
        "application/vnd.oci.image.index.v1+json"
    );
}

#[test]
fn no_result_is_said_to_be_none() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", SOURCE);
    let words =
        "WARNING: No output specified with remote driver. Build result will only remain in the build cache.";
    remote.build(&folder).run().succeeds().says(words);
    let asked = remote
        .build(&folder)
        .args(["-o", "type=cacheonly"])
        .run()
        .succeeds();
    asked.says_no("No output specified");
}

#[test]
fn a_mirrored_folder_loses_what_is_not_in_the_result() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", SOURCE);
    remote.context.write("out/old", "from before");
    let local = "type=local,dest=out";
    remote.build(&folder).args(["-o", local]).run().succeeds();
    assert_eq!(remote.context.read("out/old"), "from before");
    let mirror = "type=local,dest=out,mode=delete";
    remote.build(&folder).args(["-o", mirror]).run().succeeds();
    assert!(!remote.context.work().join("out/old").exists());
    assert_eq!(remote.context.read("out/copied"), SOURCE);
    let elsewhere = remote.context.home().join("mirror");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("precious"), "").unwrap();
    let mirror = format!("type=local,dest={},mode=delete", elsewhere.display());
    let refused = remote.build(&folder).args(["-o", &mirror]).run().fails(1);
    refused.says("requires --allow=buildx.local.delete");
    assert!(elsewhere.join("precious").exists());
    let allowed = ["-o", &mirror, "--allow", "buildx.local.delete"];
    remote.build(&folder).args(allowed).run().succeeds();
    assert!(!elsewhere.join("precious").exists());
}
