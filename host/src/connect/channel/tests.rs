use super::*;
use crate::connect::fake;
use crate::connect::helper_program::tests::helper;
use bkhost_proto::control::control_server::ControlServer;
use bkhost_proto::worker::WorkerRecord;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::service::Routes;

use crate::buildkit::fake::Daemon;
use crate::connect::tls::TlsError;

async fn connect_to(answer: &'static [u8]) -> ConnectError {
    let (near, mut far) = tokio::io::duplex(4096);
    tokio::spawn(async move {
        let mut preface = [0; 24];
        far.read_exact(&mut preface).await.unwrap();
        far.write_all(answer).await.unwrap();
    });
    Channel::connect(Pipe::new(near), None).await.unwrap_err()
}

#[tokio::test]
async fn an_http1_server_is_told() {
    let error = connect_to(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
    assert!(!error.is_transient());
    assert_eq!(
        error.to_string(),
        "The other side is no BuildKit daemon: it speaks HTTP/1 (`HTTP/1.1 400 Bad Request`), not HTTP/2"
    );
}

#[tokio::test]
async fn a_tls_server_is_told_with_the_way_out() {
    let error = connect_to(&[0x15, 3, 1, 0, 2, 2, 70]).await;
    assert!(
        matches!(&error, ConnectError::NotHttp2 { peer: Peer::Tls }),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("cacert"));
}

#[tokio::test]
async fn a_stream_that_closes_without_a_word_may_be_tried_again() {
    let error = connect_to(b"").await;
    assert!(matches!(error, ConnectError::Closed), "{error:?}");
    assert!(error.is_transient());
}

#[tokio::test(start_paused = true)]
async fn a_silent_endpoint_is_given_up_at_the_deadline() {
    let (near, _far) = tokio::io::duplex(4096);
    let deadline = std::time::Instant::now() + Duration::from_secs(3);
    let error = Channel::connect(Pipe::new(near), Some(deadline)).await;
    assert!(matches!(error, Err(ConnectError::TimedOut { .. })), "{error:?}");
}

#[tokio::test]
async fn a_grpc_server_without_buildkit_is_told() {
    let (pipe, _server) = fake::serve(Routes::default());
    let error = Channel::connect(pipe, None).await.unwrap_err();
    assert!(matches!(error, ConnectError::NotBuildKit { .. }), "{error:?}");
    assert!(!error.is_transient());
}

struct Failing<F>(F);

impl<F: Fn() -> std::io::Error> tokio::io::AsyncRead for Failing<F> {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Err((self.0)()))
    }
}

impl<F> tokio::io::AsyncWrite for Failing<F> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn refused_and_reset_are_two_errors() {
    let refused = Pipe::new(Failing(|| std::io::ErrorKind::ConnectionRefused.into()));
    let error = Channel::connect(refused, None).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    let reset = Pipe::new(Failing(|| std::io::ErrorKind::ConnectionReset.into()));
    let error = Channel::connect(reset, None).await.unwrap_err();
    assert!(matches!(error, ConnectError::Reset { .. }), "{error:?}");
}

#[tokio::test]
async fn a_refused_client_certificate_is_final_and_has_its_way_out() {
    let pipe = Pipe::new(Failing(|| {
        std::io::Error::other(TlsError::Identity {
            peer: "h:1".into(),
            why: "it is unknown there".into(),
            hint: "Give another `cert`".into(),
        })
    }));
    let error = Channel::connect(pipe, None).await.unwrap_err();
    assert!(!error.is_transient());
    assert_eq!(
        error.to_string(),
        "`h:1` refused the client certificate: it is unknown there"
    );
    assert_eq!(error.hint(), Some("Give another `cert`"));
}

#[tokio::test]
async fn a_helper_program_that_ends_has_its_own_words() {
    let dir = tempfile::tempdir().unwrap();
    let program = helper(dir.path(), "echo first >&2; echo 'no such host' >&2; exit 255");
    let last_words = program.last_words();
    let pipe = Pipe::new(program).with_last_words(Some(last_words));
    let error = Channel::connect(pipe, None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`sh` ended with status 255 before the daemon answered: no such host"
    );
}

#[tokio::test]
async fn a_helper_program_that_goes_on_without_its_connection_is_no_question_of_tls() {
    let dir = tempfile::tempdir().unwrap();
    let running = helper(dir.path(), "echo waiting >&2; exec sleep 30");
    let words = running.last_words();
    tokio::time::timeout(Duration::from_secs(5), async {
        while words.stderr().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    // Whatever carries its bytes is cut, and it does not notice.
    let (near, far) = tokio::io::duplex(64);
    drop(far);
    let error = Channel::connect(Pipe::new(near).with_last_words(Some(words)), None)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`sh` closed the connection before the daemon answered: waiting"
    );
    assert!(error.is_transient() && error.hint().is_none());
    drop(running);
}

#[tokio::test]
async fn a_lost_stream_is_never_dialled_again() {
    let daemon = Daemon::default();
    let (pipe, server) = fake::serve(daemon.routes());
    let (channel, _) = Channel::connect(pipe, None).await.unwrap();
    server.abort();
    let lost = channel.loss().await;
    assert_eq!(lost.word(), "eof");
    for _ in 0..2 {
        let status = channel.control().info(InfoRequest {}).await.unwrap_err();
        assert_eq!(status.message(), lost.to_string());
        assert_eq!(channel.loss_behind(&status).await, Some(lost.clone()));
    }
}

fn workers_of(size: usize) -> Daemon {
    let worker = WorkerRecord {
        id: "x".repeat(size),
        ..Default::default()
    };
    Daemon {
        workers: ListWorkersResponse { record: vec![worker] },
        ..Default::default()
    }
}

#[tokio::test]
async fn a_message_may_have_16_mib_and_a_longer_one_is_no_loss() {
    let request = ListWorkersRequest::default;
    for (size, fits) in [(MESSAGE_LIMIT - 64, true), (MESSAGE_LIMIT, false)] {
        let server = ControlServer::new(workers_of(size)).max_encoding_message_size(usize::MAX);
        let (pipe, _server) = fake::serve(Routes::new(server));
        let channel = Channel::open_unproven(pipe).await;
        let answer = channel.control().list_workers(request()).await;
        assert_eq!(answer.is_ok(), fits);
        if let Err(status) = answer {
            assert_eq!(status.code(), Code::OutOfRange);
            assert_eq!(channel.loss_behind(&status).await, None);
        }
    }
}

#[tokio::test]
async fn requests_carry_the_authority_of_the_pipe() {
    let daemon = Daemon::default();
    let (pipe, _server) = fake::serve(daemon.routes());
    let pipe = pipe.with_authority(Some("builder.example:1234".into()));
    Channel::connect(pipe, None).await.unwrap();
    let seen = daemon.authorities();
    assert_eq!(seen, ["builder.example:1234"]);
}
