mod exports;

use super::*;
use crate::buildkit::fake::Daemon;
use crate::buildkit::spec::{
    Credential, RegistryCredentials, Secret, SessionSpec, StandardOutput, random_id,
};
use crate::connect::fake;
use bkhost_proto::gateway;
use bkhost_proto::rpc;
use prost::Message;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::time::Instant;

struct Nobody;

#[async_trait::async_trait]
impl RegistryCredentials for Nobody {
    async fn credentials(&self, _: &str) -> Result<Credential, String> {
        Ok(Credential::default())
    }

    fn seed_folder(&self) -> Option<PathBuf> {
        None
    }
}

fn spec() -> SolveSpec {
    SolveSpec {
        reference: random_id(),
        frontend: "dockerfile.v0".into(),
        attributes: [("target".to_owned(), "t".to_owned())].into(),
        exporters: Vec::new(),
        cache_exports: Vec::new(),
        cache_imports: Vec::new(),
        entitlements: Vec::new(),
        internal: false,
        session: SessionSpec {
            shared_key: "ctx:node".into(),
            mounts: BTreeMap::new(),
            secrets: [("s".to_owned(), Secret::Value("v".into()))].into(),
            registry: Arc::new(Nobody),
            layouts: BTreeMap::new(),
            upload: None,
            output: StandardOutput::default(),
        },
    }
}

async fn connect(daemon: &Daemon) -> (Channel, tokio::task::AbortHandle) {
    let (pipe, server) = fake::serve(daemon.routes());
    (Channel::connect(pipe, None).await.unwrap().0, server)
}

async fn solve(daemon: &Daemon, spec: SolveSpec) -> Result<Solved, SolveError> {
    let (channel, _server) = connect(daemon).await;
    run(&channel, spec, Sink::discard(), Cancel::new()).await
}

fn result() -> gateway::Result {
    let attestation = gateway::Attestation {
        path: "p".into(),
        ..Default::default()
    };
    let attestations = gateway::Attestations {
        attestation: vec![attestation],
    };
    gateway::Result {
        result: Some(gateway::result::Result::Ref(gateway::Ref {
            id: "r1".into(),
            def: None,
        })),
        metadata: [("k".to_owned(), Bytes::from_static(b"v"))].into(),
        attestations: [("linux/amd64".to_owned(), attestations)].into(),
    }
}

#[tokio::test]
async fn the_result_is_handed_back_as_it_came() {
    let daemon = Daemon {
        result: Ok(result()),
        ..Default::default()
    };
    let spec = spec();
    let solved = solve(&daemon, spec.clone()).await.unwrap();
    assert_eq!(solved.response["key"], "value");
    assert_eq!(solved.metadata["k"], "v");
    let returned = daemon.returned.borrow().clone().unwrap();
    assert_eq!(returned.result, Some(result()));
    assert_eq!(returned.error, None);
    let asked = daemon.asked.lock().unwrap();
    assert_eq!(asked.builds, vec![spec.reference; 3]);
    assert_eq!(asked.sessions_closed, 1);
}

#[tokio::test]
async fn the_request_is_one_of_gateway_mode() {
    let daemon = Daemon::default();
    let mut spec = spec();
    spec.cache_imports = vec![CacheEntry {
        kind: "registry".into(),
        attributes: [("ref".to_owned(), "r".to_owned())].into(),
    }];
    solve(&daemon, spec.clone()).await.unwrap();
    let asked = daemon.asked.lock().unwrap();
    let request = &asked.solves[0];
    assert_eq!(
        (request.definition.as_ref(), request.frontend.as_str()),
        (None, "")
    );
    assert_eq!(request.r#ref, spec.reference);
    let imports = r#"[{"Type":"registry","Attrs":{"ref":"r"}}]"#;
    assert_eq!(request.frontend_attrs["cache-imports"], imports);
    let frontend = &asked.frontend_solves[0];
    assert_eq!(frontend.frontend, "dockerfile.v0");
    assert_eq!(frontend.frontend_opt, request.frontend_attrs);
    assert!(frontend.allow_result_return && frontend.allow_result_array_ref);
    let session = &asked.sessions[0];
    assert_eq!(
        session.get("x-docker-expose-session-uuid").unwrap(),
        request.session.as_str()
    );
    let methods: Vec<_> = session
        .get_all("x-docker-expose-session-grpc-method")
        .iter()
        .map(|method| method.to_str().unwrap())
        .collect();
    assert!(methods.contains(&"/moby.buildkit.secrets.v1.Secrets/GetSecret"));
    assert!(methods.contains(&"/grpc.health.v1.Health/Check"));
    assert!(!methods.iter().any(|method| method.contains("FileSync")));
}

fn failure() -> Status {
    let detail = prost_types::Any {
        type_url: "github.com/moby/buildkit/errdefs.Vertex+json".into(),
        value: br#"{"digest":"sha256:a"}"#.to_vec(),
    };
    let whole = rpc::Status {
        code: 3,
        message: "no such stage".into(),
        details: vec![detail],
    };
    Status::with_details(
        tonic::Code::InvalidArgument,
        "no such stage",
        whole.encode_to_vec().into(),
    )
}

#[tokio::test]
async fn a_failure_of_the_frontend_is_handed_back_with_its_details() {
    let daemon = Daemon {
        result: Err(failure()),
        ..Default::default()
    };
    let error = solve(&daemon, spec()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to solve: InvalidArgument: daemon: no such stage"
    );
    let returned = daemon.returned.borrow().clone().unwrap();
    assert_eq!(returned.result, None);
    assert_eq!(returned.error.unwrap().details.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_does_not_take_the_failure_is_not_waited_for() {
    let daemon = Daemon {
        result: Err(failure()),
        solve_hangs: true,
        ..Default::default()
    };
    let error = solve(&daemon, spec()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to solve: InvalidArgument: no such stage"
    );
    assert_eq!(error.details().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn progress_that_never_ends_is_left_after_5_s_of_silence() {
    let daemon = Daemon {
        status_hangs: true,
        ..Default::default()
    };
    let (channel, _server) = connect(&daemon).await;
    let (sink, mut updates) = Sink::channel();
    let start = Instant::now();
    run(&channel, spec(), sink, Cancel::new()).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(updates.recv().await.unwrap().vertexes[0].digest, "sha256:a");
    assert!(updates.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn progress_of_a_busy_daemon_is_asked_for_again() {
    let daemon = Daemon {
        solve_hangs: true,
        status_late: Arc::new(2.into()),
        ..Default::default()
    };
    let (channel, _server) = connect(&daemon).await;
    let (sink, mut updates) = Sink::channel();
    let start = Instant::now();
    let build = run(&channel, spec(), sink, Cancel::new());
    tokio::select! {
        ended = build => panic!("{ended:?}"),
        update = updates.recv() => assert_eq!(update.unwrap().vertexes[0].digest, "sha256:a"),
    }
    assert_eq!(start.elapsed().as_secs(), 12);
}

#[tokio::test(start_paused = true)]
async fn a_build_that_never_had_progress_is_not_waited_for() {
    let daemon = Daemon {
        result: Err(failure()),
        status_late: Arc::new(usize::MAX.into()),
        ..Default::default()
    };
    let start = Instant::now();
    solve(&daemon, spec()).await.unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_build_ends_within_one_and_a_half_seconds() {
    let daemon = Daemon {
        solve_hangs: true,
        status_hangs: true,
        ..Default::default()
    };
    let (channel, _server) = connect(&daemon).await;
    let cancel = Cancel::new();
    let later = cancel.clone();
    let cancelled = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        later.cancel();
        Instant::now()
    });
    let error = run(&channel, spec(), Sink::discard(), cancel).await;
    assert!(matches!(error, Err(SolveError::Cancelled)));
    assert!(cancelled.await.unwrap().elapsed() <= Duration::from_millis(1500));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_answers_nothing_any_more_is_lost() {
    let daemon = Daemon {
        solve_hangs: true,
        status_hangs: true,
        ..Default::default()
    };
    let (channel, _server) = connect(&daemon).await;
    daemon.frozen.send_replace(true);
    let start = Instant::now();
    let error = run(&channel, spec(), Sink::discard(), Cancel::new()).await;
    assert!(matches!(error, Err(SolveError::Lost { how }) if how.word() == "silent"));
    assert_eq!(start.elapsed().as_secs(), 25);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_answers_probes_is_waited_for() {
    let daemon = Daemon {
        solve_hangs: true,
        status_hangs: true,
        ..Default::default()
    };
    let (channel, _server) = connect(&daemon).await;
    let build = run(&channel, spec(), Sink::discard(), Cancel::new());
    let waited = tokio::time::timeout(Duration::from_secs(600), build).await;
    assert!(waited.is_err());
}

#[tokio::test]
async fn a_connection_that_ends_ends_the_build() {
    let daemon = Daemon {
        solve_hangs: true,
        status_hangs: true,
        ..Default::default()
    };
    let (channel, server) = connect(&daemon).await;
    let asked = Arc::clone(&daemon.asked);
    tokio::spawn(async move {
        while asked.lock().unwrap().solves.is_empty() {
            tokio::task::yield_now().await;
        }
        server.abort();
    });
    let error = run(&channel, spec(), Sink::discard(), Cancel::new()).await;
    assert!(matches!(error, Err(SolveError::Lost { how }) if how.word() == "eof"));
}
