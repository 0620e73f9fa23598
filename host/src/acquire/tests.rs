use super::*;
use crate::connect::pipe::Pipe;
use crate::driver::node::{DriverInfo, DriverResult, LogRequest, Removal, Status};
use async_trait::async_trait;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// A node without a daemon: every dial fails as it is told to.
struct Scripted {
    info: DriverInfo,
    calls: Arc<Calls>,
    state: State,
    instances: Vec<&'static str>,
    failure: DriverErrorKind,
    boot: Boot,
}

#[derive(Clone, Copy, PartialEq)]
enum Boot {
    Succeeds,
    Fails,
    Hangs,
}

#[derive(Default)]
struct Calls {
    boots: AtomicUsize,
    dials: Mutex<Vec<String>>,
    losses: Mutex<Vec<Loss>>,
}

fn failing(kind: DriverErrorKind) -> (Scripted, Arc<Calls>) {
    let calls = Arc::new(Calls::default());
    let node = Scripted {
        info: DriverInfo::default(),
        calls: Arc::clone(&calls),
        state: State::Inactive,
        instances: vec!["one"],
        failure: kind,
        boot: Boot::Succeeds,
    };
    (node, calls)
}

impl Scripted {
    fn error(&self) -> DriverError {
        DriverError {
            kind: self.failure,
            driver: "scripted".into(),
            message: "Nobody listens".into(),
            hint: Some("Start it".into()),
            details: vec![("log".into(), "last line".into())],
        }
    }
}

#[async_trait]
impl Node for Scripted {
    fn info(&self) -> &DriverInfo {
        &self.info
    }

    async fn endpoint(&self) -> DriverResult<String> {
        Ok(String::new())
    }

    async fn status(&self) -> DriverResult<Status> {
        Ok(Status {
            state: self.state,
            detail: String::new(),
            attributes: Vec::new(),
        })
    }

    async fn boot(&self, _: DialRequest) -> DriverResult<()> {
        self.calls.boots.fetch_add(1, Relaxed);
        match self.boot {
            Boot::Succeeds => Ok(()),
            Boot::Fails => Err(self.error()),
            Boot::Hangs => std::future::pending().await,
        }
    }

    async fn instances(&self) -> DriverResult<Vec<Instance>> {
        let instance = |id: &&str| Instance {
            id: (*id).to_owned(),
            state: State::Running,
            labels: Vec::new(),
        };
        Ok(self.instances.iter().map(instance).collect())
    }

    async fn placement(&self) -> DriverResult<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    async fn dial(&self, instance: &str, _: DialRequest) -> DriverResult<Pipe> {
        self.calls.dials.lock().unwrap().push(instance.to_owned());
        Err(self.error())
    }

    async fn abilities(&self, _: Vec<WorkerFacts>) -> DriverResult<BTreeMap<String, String>> {
        Ok(BTreeMap::new())
    }

    async fn stop(&self, _: DialRequest) -> DriverResult<()> {
        Ok(())
    }

    async fn remove(&self, _: DialRequest, _: Removal) -> DriverResult<()> {
        Ok(())
    }

    async fn diagnose(&self, loss: Loss) -> DriverResult<Option<Finding>> {
        self.calls.losses.lock().unwrap().push(loss);
        Ok(None)
    }

    async fn logs(&self, _: &str, _: LogRequest) -> DriverResult<Option<Pipe>> {
        Ok(None)
    }
}

fn wanted(limit: Duration) -> Wanted {
    Wanted {
        purpose: "build",
        affinity: "/src".into(),
        // The clock of a paused runtime, not the system's.
        deadline: (tokio::time::Instant::now().into_std() + limit).into(),
        cancel: Cancel::new(),
        sink: Sink::discard(),
    }
}

async fn failure_of(node: Scripted, wanted: &Wanted) -> AcquireError {
    acquire(Box::new(node), "n", wanted)
        .await
        .map(|_| ())
        .unwrap_err()
}

#[tokio::test]
async fn what_may_heal_is_tried_until_the_deadline() {
    let (node, calls) = failing(DriverErrorKind::Refused);
    let error = failure_of(node, &wanted(Duration::from_millis(700))).await;
    assert!(
        matches!(&error, AcquireError::TimedOut { last: Some(_), .. }),
        "{error:?}"
    );
    assert_eq!(error.hint().unwrap(), "Start it");
    assert_eq!(error.details()[0].1, "last line");
    let dials = calls.dials.lock().unwrap().len();
    assert!(dials > 1, "{dials}");
    // A daemon that does not run is booted again before each dial.
    assert_eq!(calls.boots.load(Relaxed), dials);
}

#[tokio::test]
async fn a_boot_that_failed_is_not_repeated() {
    let (mut node, calls) = failing(DriverErrorKind::Refused);
    node.boot = Boot::Fails;
    let error = failure_of(node, &wanted(Duration::from_secs(60))).await;
    assert_eq!(error.to_string(), "Nobody listens");
    assert_eq!(error.hint().unwrap(), "Start it");
    assert_eq!(error.details()[0].1, "last line");
    assert_eq!(calls.boots.load(Relaxed), 1);
    assert_eq!(calls.dials.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn what_cannot_heal_ends_at_once() {
    for kind in [
        DriverErrorKind::Certificate,
        DriverErrorKind::Protocol,
        DriverErrorKind::InvalidConfig,
        DriverErrorKind::Unauthenticated,
        DriverErrorKind::Exhausted,
    ] {
        let (node, calls) = failing(kind);
        let error = failure_of(node, &wanted(Duration::from_secs(60))).await;
        assert_eq!(error.to_string(), "Nobody listens");
        assert_eq!(calls.dials.lock().unwrap().len(), 1, "{kind:?}");
    }
}

#[tokio::test]
async fn a_running_daemon_is_not_booted() {
    let (mut node, calls) = failing(DriverErrorKind::Protocol);
    node.state = State::Running;
    failure_of(node, &wanted(Duration::from_secs(60))).await;
    assert_eq!(calls.boots.load(Relaxed), 0);
}

#[tokio::test]
async fn similar_builds_go_to_the_same_of_several_daemons() {
    let dialled = async |affinity: &str| {
        let (mut node, calls) = failing(DriverErrorKind::Protocol);
        node.instances = vec!["one", "two", "three"];
        let wanted = Wanted {
            affinity: affinity.into(),
            ..wanted(Duration::from_secs(60))
        };
        failure_of(node, &wanted).await;
        calls.dials.lock().unwrap().remove(0)
    };
    assert_eq!(dialled("/src/a").await, dialled("/src/a").await);
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..20 {
        seen.insert(dialled(&format!("/src/{n}")).await);
    }
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn a_node_without_daemons_is_named() {
    let (mut node, _) = failing(DriverErrorKind::Other);
    node.instances.clear();
    let error = failure_of(node, &wanted(Duration::from_millis(100))).await;
    let AcquireError::TimedOut { last: Some(last), .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(last.to_string(), "Node `n` has no running daemon");
}

#[tokio::test]
async fn a_cancellation_ends_a_boot_that_hangs() {
    let (mut node, _) = failing(DriverErrorKind::Other);
    node.boot = Boot::Hangs;
    let wanted = wanted(Duration::from_secs(60));
    let cancel = wanted.cancel.clone();
    let (error, ()) = tokio::join!(failure_of(node, &wanted), async move {
        tokio::task::yield_now().await;
        cancel.cancel();
    });
    assert!(error.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_boot_that_hangs_ends_after_the_deadline() {
    let (mut node, _) = failing(DriverErrorKind::Other);
    node.boot = Boot::Hangs;
    let error = failure_of(node, &wanted(Duration::from_secs(5))).await;
    assert!(
        matches!(error, AcquireError::TimedOut { last: None, .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().starts_with("Node `n` was not usable within "),
        "{error}"
    );
}

#[tokio::test]
async fn a_driver_is_told_the_last_words_of_a_helper_program() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = crate::connect::helper_program::tests::helper(dir.path(), "echo cut off >&2; exit 255");
    let last_words = program.last_words();
    let _ = tokio::io::AsyncReadExt::read(&mut program, &mut [0; 8]).await;
    let (pipe, server) = crate::connect::fake::serve(crate::buildkit::fake::Daemon::default().routes());
    let client = Client::connect(pipe.with_last_words(Some(last_words)), None).await;
    let (node, calls) = failing(DriverErrorKind::Other);
    let daemon = Daemon {
        node: Box::new(node),
        name: "n".into(),
        instance: "one".into(),
        client: client.unwrap(),
        opened: SystemTime::now(),
    };
    server.abort();
    daemon.diagnose(&daemon.client.channel().loss().await).await;
    let losses = calls.losses.lock().unwrap();
    let told: Vec<_> = losses
        .iter()
        .map(|loss| (loss.how.as_str(), loss.exit_status, loss.stderr_tail.as_str()))
        .collect();
    assert_eq!(told, [("eof", Some(255), "cut off\n")]);
}

#[tokio::test]
async fn only_a_driver_that_offers_it_is_asked_about_steps() {
    let ended = SystemTime::now();
    let ran = Ran {
        began: ended - Duration::from_secs(7),
        ended,
    };
    for (extra, asked) in [(None, false), (Some("false"), false), (Some("true"), true)] {
        let (pipe, _server) = crate::connect::fake::serve(crate::buildkit::fake::Daemon::default().routes());
        let (mut node, calls) = failing(DriverErrorKind::Other);
        node.info.optional.push("diagnose".into());
        let extra = extra.map(|value| ("step-ends".to_owned(), value.to_owned()));
        node.info.extra.extend(extra);
        let daemon = Daemon {
            node: Box::new(node),
            name: "n".into(),
            instance: "one".into(),
            client: Client::connect(pipe, None).await.unwrap(),
            opened: SystemTime::UNIX_EPOCH,
        };
        assert_eq!(daemon.diagnose_step(137, Some(&ran)).await, None);
        assert_eq!(daemon.diagnose_step(137, None).await, None);
        let losses = calls.losses.lock().unwrap();
        let told: Vec<_> = losses
            .iter()
            .map(|loss| (loss.how.as_str(), loss.exit_status, loss.opened))
            .collect();
        let both = [
            ("step-killed", Some(137), ran.began),
            ("step-killed", Some(137), SystemTime::UNIX_EPOCH),
        ];
        assert_eq!(told, if asked { &both[..] } else { &[] });
        if let Some(loss) = losses.first() {
            assert_eq!(loss.lost, ended);
        }
    }
}
