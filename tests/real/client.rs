//! What a daemon tells about itself.

use bkhost_test_support::daemon::Daemon;

use crate::build::{connect, context, run, solve, spec};

#[tokio::test]
async fn a_daemon_tells_its_version_workers_and_capabilities() {
    let daemon = Daemon::start();
    let client = connect(&daemon).await;
    let version = client.version().await.unwrap().unwrap();
    assert_eq!(version.package, "github.com/moby/buildkit");
    let workers = client.workers();
    assert!(workers[0].platforms[0].starts_with("linux/"), "{workers:?}");
    assert!(!workers[0].gc_policies.is_empty());
    let capabilities = client.capabilities().await.unwrap();
    assert!(capabilities.llb.contains("exporter.image.attestations"));
    assert!(capabilities.frontend.contains("gateway.solve.metadata"));
    assert_eq!(client.active_builds().await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_build_leaves_a_record_with_its_provenance() {
    let daemon = Daemon::start();
    let client = connect(&daemon).await;
    let context = context(&run("true"));
    let mut spec = spec(context.path());
    let reference = spec.reference.clone();
    spec.attributes
        .insert("attest:provenance".into(), "type=provenance,mode=min".into());
    let (solved, _) = solve(&client, spec).await;
    solved.unwrap();
    let record = client.build_record(&reference).await.unwrap().unwrap();
    assert_eq!(record.reference, reference);
    assert!(record.completed.is_some());
    let attestation = &record.results[0].attestations[0];
    let kind = attestation.predicate_type().unwrap();
    assert!(kind.starts_with("https://slsa.dev/provenance/"), "{kind}");
    let predicate = client.read_blob(attestation).await.unwrap();
    assert_eq!(predicate.len() as i64, attestation.size);
    let predicate: serde_json::Value = serde_json::from_slice(&predicate).unwrap();
    assert!(predicate.is_object());
    assert_eq!(client.build_record("nothere").await.ok().flatten(), None);
}
