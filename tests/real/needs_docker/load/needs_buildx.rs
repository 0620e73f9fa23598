//! The same builds by buildx: what an engine has afterwards, and what is written about it, is the same.

use serde_json::Value;

use super::{Bench, RELEASES};

/// Makes the image reproducible: whoever builds it, it is the same.
const EPOCH: (&str, &str) = ("SOURCE_DATE_EPOCH", "1700000000");

/// Id, metadata and image as the engine has it, of a build that loads.
fn result(bench: &Bench, program: &str, more: &[&str]) -> (String, Value, String) {
    let words = [
        "build",
        "--load",
        "--progress=plain",
        "--iidfile=id",
        "--metadata-file=meta.json",
    ];
    let call = match program {
        "bkhost" => bench.context.bkhost(words),
        _ => bench.context.call(program, words),
    };
    let call = call.args(["-t", &bench.tag]).args(more).env(EPOCH.0, EPOCH.1);
    let said = call.arg(&bench.source).run().succeeds();
    assert_eq!(said.stderr().contains("importing to docker"), more.contains(&"b"));
    let mut metadata: Value = serde_json::from_str(&bench.context.read("meta.json")).unwrap();
    let fields = metadata.as_object_mut().unwrap();
    // Each build has its own.
    fields.remove("buildx.build.ref").unwrap();
    let id = bench.id(&bench.tag);
    bench.runs(&bench.tag);
    (bench.context.read("id"), metadata, id)
}

#[test]
fn ids_and_metadata_are_those_of_buildx() {
    for release in RELEASES {
        let bench = Bench::new(release);
        for more in [["--builder", "b"], ["--builder", "default"]] {
            let ours = result(&bench, "bkhost", &[&more[..], &["--provenance=false"]].concat());
            let theirs = result(&bench, "buildx", &[&more[..], &["--provenance=false"]].concat());
            assert_eq!(ours, theirs, "{release:?} {more:?}");
        }
    }
}

#[test]
fn refusals_have_the_words_of_buildx() {
    let bench = Bench::new(super::Release::Old);
    let line = |text: &str| {
        let errors = text.lines().skip_while(|line| !line.starts_with("ERROR: "));
        let errors = errors.take_while(|line| !line.starts_with("hint: "));
        errors.map(str::to_owned).collect::<Vec<_>>()
    };
    for (builder, words) in [
        ("b", &["--load", "--platform=linux/amd64,linux/arm64"][..]),
        ("b", &["--load", "--sbom=true"]),
        ("b", &["--output=type=docker,context=nope"]),
        ("default", &["--load", "--platform=linux/amd64,linux/arm64"]),
        ("default", &["--platform=linux/amd64,linux/arm64"]),
        ("default", &["--output=type=oci,dest=x"]),
        ("default", &["--output=type=docker,dest=x"]),
        ("default", &["--cache-to=type=registry,ref=r/x"]),
        ("default", &["--sbom=true"]),
        (
            "default",
            &["--push", "--output=type=image,name=a,push-by-digest=true"],
        ),
    ] {
        let arguments = [&["build", "--builder", builder], words].concat();
        let ours = bench.context.bkhost(&arguments).arg(&bench.source).run().fails(1);
        let theirs = bench.context.call("buildx", &arguments).arg(&bench.source);
        let theirs = theirs.run().fails(1);
        assert_eq!(line(ours.stderr()), line(theirs.stderr()), "{builder} {words:?}");
    }
}
