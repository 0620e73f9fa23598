//! Engines of a few scripted answers, each over a real socket.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::docker::endpoint::Address;

const PONG: &str = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 0\r\n\r\n";

struct Fake {
    engine: Engine,
    asked: tokio::task::JoinHandle<Vec<String>>,
    _folder: tempfile::TempDir,
}

/// An engine that answers one request after the other, each inner list on a connection of its own, and then closes it.
/// It tells the heads of what it was asked, with the bodies that came at once.
fn fake(connections: Vec<Vec<&'static str>>) -> Fake {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let asked = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answers in connections {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in answers {
                asked.push(request(&mut stream).await);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
        asked
    });
    let endpoint = Endpoint {
        url: "unix:///d.sock".to_owned(),
        address: Address::Unix(path.display().to_string()),
        base_path: String::new(),
    };
    Fake {
        engine: Engine::new(endpoint, Opener::default(), None),
        asked,
        _folder: folder,
    }
}

async fn request(stream: &mut UnixStream) -> String {
    let mut text = Vec::new();
    loop {
        let read = stream.read_buf(&mut text).await.unwrap();
        let head = String::from_utf8_lossy(&text).into_owned();
        if read == 0 || head.contains("\r\n\r\n") {
            return head;
        }
    }
}

fn first_lines(asked: &[String]) -> Vec<&str> {
    asked
        .iter()
        .map(|head| head.lines().next().unwrap_or_default())
        .collect()
}

#[tokio::test]
async fn the_version_is_agreed_on_once_and_the_connection_used_again() {
    let body = "HTTP/1.1 404 Not Found\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let fake = fake(vec![vec![PONG, body, "HTTP/1.1 204 No Content\r\n\r\n"]]);
    let answer = fake.engine.send(&Request::new("GET", "/info?x=1")).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (404, &b"abcde"[..]));
    assert!(answer.headers.contains(&("x-a".to_owned(), "b".to_owned())));
    let start = Request::new("POST", "/containers/c/start").with_header("X-Meta", "m");
    assert_eq!(fake.engine.send(&start).await.unwrap().status, 204);
    assert_eq!(fake.engine.version().await.unwrap().to_string(), "1.41");
    let asked = fake.asked.await.unwrap();
    assert_eq!(
        first_lines(&asked),
        [
            "HEAD /_ping HTTP/1.1",
            "GET /v1.41/info?x=1 HTTP/1.1",
            "POST /v1.41/containers/c/start HTTP/1.1"
        ]
    );
    assert!(asked[2].contains("x-meta: m\r\n") && asked[2].contains("host: api.moby.localhost\r\n"));
    assert!(asked[2].contains("content-length: 0\r\n"), "{}", asked[2]);
}

#[tokio::test]
async fn an_engine_without_head_is_asked_with_get() {
    let refused = "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 3\r\n\r\n";
    let pong = "HTTP/1.1 200 OK\r\nApi-Version: 1.60\r\nContent-Length: 2\r\n\r\nOK";
    let fake = fake(vec![vec![refused, pong]]);
    assert_eq!(fake.engine.version().await.unwrap().to_string(), "1.55");
    assert_eq!(
        first_lines(&fake.asked.await.unwrap()),
        ["HEAD /_ping HTTP/1.1", "GET /_ping HTTP/1.1"]
    );
}

#[tokio::test]
async fn an_old_engine_and_a_gateway_are_told_apart() {
    let old = "HTTP/1.1 200 OK\r\nApi-Version: 1.30\r\n\r\n";
    let error = fake(vec![vec![old]]).engine.version().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "API version 1.30 is not supported by this client: the minimum supported API version is 1.40"
    );
    let head = "HTTP/1.1 403 Forbidden\r\n\r\n";
    let get = "HTTP/1.1 403 Forbidden\r\nContent-Length: 24\r\n\r\n{\"message\":\"not for you\"}";
    let error = fake(vec![vec![head, get]]).engine.version().await.unwrap_err();
    assert!(
        error.to_string().starts_with("Error response from daemon: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_connection_that_the_engine_closed_is_replaced() {
    let once = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
    let fake = fake(vec![vec![PONG, once], vec![once], vec![once]]);
    for _ in 0..3 {
        let answer = fake.engine.send(&Request::new("GET", "/info")).await.unwrap();
        assert_eq!(&answer.body[..], b"a");
        // Time for the end of the connection to be noticed, or not: both must do.
        tokio::task::yield_now().await;
    }
    assert_eq!(fake.asked.await.unwrap().len(), 4);
}

#[tokio::test]
async fn an_answer_that_does_not_end_well_is_no_answer() {
    for cut in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "",
    ] {
        let fake = fake(vec![vec![PONG, cut]]);
        let error = fake.engine.send(&Request::new("POST", "/x")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "The connection to the docker API at unix:///d.sock ended before the answer did"
        );
    }
    let fake = fake(vec![vec!["SSH-2.0-OpenSSH_9\r\n\r\n"]]);
    let error = fake.engine.send(&Request::new("GET", "/x")).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("What answers at unix:///d.sock is no Docker Engine: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_stream_is_read_as_it_comes_and_an_error_is_the_engines_word() {
    let stream = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let fake = fake(vec![vec![PONG, stream]]);
    let mut text = String::new();
    let request = Request::new("GET", "/events");
    let mut events = fake.engine.open_stream(&request).await.unwrap();
    events.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "abcde");

    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 25\r\n\r\n{\"message\":\"no such one\"}\n";
    let fake = self::fake(vec![vec![PONG, missing]]);
    let error = fake.engine.open_stream(&request).await.map(drop).unwrap_err();
    assert_eq!(error.to_string(), "Error response from daemon: no such one");
}

#[tokio::test]
async fn an_upgrade_keeps_what_came_with_its_head() {
    let upgraded = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst-";
    let fake = fake(vec![vec![PONG, upgraded, "later"]]);
    let start = Request::new("POST", "/exec/1/start").with_body("{}");
    let mut pipe = fake.engine.hijack(&start).await.unwrap();
    pipe.write_all(b"said\r\n\r\n").await.unwrap();
    let mut text = String::new();
    pipe.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "first-later");
    let asked = fake.asked.await.unwrap();
    assert!(asked[1].contains("connection: Upgrade\r\n") && asked[1].contains("upgrade: tcp\r\n"));
    assert_eq!(asked[2], "said\r\n\r\n");
}

#[tokio::test]
async fn a_refused_upgrade_says_what_was_received() {
    let refused = "HTTP/1.1 404 Not Found\r\nContent-Length: 29\r\n\r\n{\"message\":\"page not found\"}\n";
    let fake = fake(vec![vec![refused]]);
    let grpc = Request::new("POST", "/grpc").with_header("Upgrade", "h2c");
    let error = fake.engine.hijack(&grpc).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "unable to upgrade to h2c, received 404: page not found"
    );
    let asked = fake.asked.await.unwrap();
    assert_eq!(
        first_lines(&asked),
        ["POST /grpc HTTP/1.1"],
        "no version is asked for"
    );
}

#[tokio::test]
async fn a_stream_without_an_upgrade_is_not_waited_for() {
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let silent = "";
    let fake = fake(vec![vec![PONG, endless, silent]]);
    let start = Request::new("POST", "/exec/1/start");
    let error = fake.engine.hijack(&start).await.unwrap_err();
    assert_eq!(error.to_string(), "unable to upgrade to tcp, received 200");
    let moved = "HTTP/1.1 301 Moved Permanently\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
    let fake = self::fake(vec![vec![PONG, moved]]);
    let error = fake.engine.open_stream(&start).await.map(drop).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Error response from daemon: it answered with status 301"
    );
}

#[tokio::test]
async fn a_version_that_the_user_fixed_is_not_asked_for() {
    let mut fake = fake(vec![vec!["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]]);
    fake.engine.pinned = Some(ApiVersion::pinned("v1.43").unwrap());
    fake.engine.send(&Request::new("GET", "/info")).await.unwrap();
    assert_eq!(
        first_lines(&fake.asked.await.unwrap()),
        ["GET /v1.43/info HTTP/1.1"]
    );
}

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_buildkit_inside_is_recommended_or_asked_for_once() {
    let recommends = "HTTP/1.1 200 OK\r\nApi-Version: 1.55\r\nBuilder-Version: 2\r\n\r\n";
    let taken = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let unknown = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    for (answers, has_buildkit) in [
        (vec![recommends], true),
        (vec![PONG, taken], true),
        (vec![PONG, unknown], false),
    ] {
        let count = answers.len();
        let fake = fake(vec![answers]);
        for _ in 0..2 {
            assert_eq!(fake.engine.has_buildkit(LIMIT).await.unwrap(), has_buildkit);
        }
        let asked = fake.asked.await.unwrap();
        assert_eq!(asked.len(), count);
        let all_asked = ["HEAD /_ping HTTP/1.1", "POST /grpc HTTP/1.1"];
        assert_eq!(first_lines(&asked), all_asked[..count]);
    }
}

#[tokio::test]
async fn an_engine_that_hangs_is_waited_for_so_long() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let endpoint = Endpoint {
        url: "unix:///d.sock".to_owned(),
        address: Address::Unix(path.display().to_string()),
        base_path: String::new(),
    };
    let silent = Engine::new(endpoint, Opener::default(), None);
    let error = silent.has_buildkit(Duration::from_millis(30)).await.unwrap_err();
    assert!(matches!(error, EngineError::Silent { .. }), "{error}");
}

#[tokio::test]
async fn a_request_cannot_pretend_to_be_two() {
    let fake = fake(Vec::new());
    for request in [
        Request::new("GET", "/a HTTP/1.1\r\nX: y\r\n\r\nGET /b"),
        Request::new("GET /", "/a"),
        Request::new("GET", "a"),
        Request::new("GET", "/a?b=1#&c=2"),
        Request::new("GET", "/a").with_header("X", "y\r\nZ: z"),
        Request::new("GET", "/a").with_header("Transfer-Encoding", "chunked"),
        Request::new("GET", "/a").with_header("Content-Length", "0"),
        Request::new("GET", "/a").with_header("Upgrade", "h2c"),
        Request::new("POST", "/a").with_body(vec![0; BODY_LIMIT + 1]),
    ] {
        let error = request.wire(&fake.engine.endpoint, None).unwrap_err();
        assert!(matches!(error, EngineError::Request { .. }), "{error}");
    }
}

#[tokio::test]
async fn of_an_answer_that_is_too_large_only_the_beginning_is_read() {
    let fits = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let fake = fake(vec![vec![PONG, fits, fits]]);
    let request = Request::new("GET", "/x");
    let (received, link) = fake.engine.ask(&request).await.unwrap();
    let (answer, is_all) = fake.engine.read(received, link, 5).await.unwrap();
    assert_eq!((&answer.body[..], is_all), (&b"abcde"[..], true));
    let (received, link) = fake.engine.ask(&request).await.unwrap();
    let (answer, is_all) = fake.engine.read(received, link, 4).await.unwrap();
    assert_eq!((&answer.body[..], is_all), (&b"abcd"[..], false));
    assert!(fake.engine.idle_link().await.is_none());
}

#[tokio::test]
async fn a_page_instead_of_an_answer_is_told_with_its_status() {
    let page = "<p>no engine".repeat(1 << 14);
    let head = format!(
        "HTTP/1.1 502 Bad Gateway\r\nContent-Length: {}\r\n\r\n",
        page.len()
    );
    let fake = fake(vec![vec![PONG, format!("{head}{page}").leak()]]);
    let error = fake.engine.open_stream(&Request::new("GET", "/events")).await;
    let error = error.err().unwrap();
    assert!(
        matches!(error, EngineError::Answer { status: 502, .. }),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .starts_with("Error response from daemon: <p>no engine"),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_that_is_waited_for_no_longer_closes_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let endpoint = Endpoint {
        url: "unix:///d.sock".to_owned(),
        address: Address::Unix(path.display().to_string()),
        base_path: String::new(),
    };
    let silent = Engine::new(endpoint, Opener::default(), None);
    let request = Request::new("GET", "/x");
    let waited = tokio::time::timeout(Duration::from_millis(50), silent.send(&request)).await;
    assert!(waited.is_err());
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.starts_with(b"HEAD /_ping"), "{rest:?}");
}
