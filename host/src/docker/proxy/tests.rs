//! Which proxy is taken, and a tunnel through one that is real enough.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn proxies(none: &str) -> Proxies {
    Proxies {
        http: "http://plain:3128".to_owned(),
        https: "secure:3129".to_owned(),
        none: none.to_owned(),
    }
}

fn to(proxies: &Proxies, host: &str, port: u16, tls: bool) -> Option<String> {
    proxies.to(host, port, tls).unwrap().map(|proxy| proxy.shown())
}

#[test]
fn the_variable_follows_from_tls() {
    let all = proxies("");
    assert_eq!(to(&all, "h", 2375, false).as_deref(), Some("http://plain:3128"));
    assert_eq!(to(&all, "h", 2376, true).as_deref(), Some("http://secure:3129"));
    assert_eq!(to(&Proxies::default(), "h", 2375, false), None);
}

#[test]
fn what_needs_no_proxy_gets_none() {
    for host in ["localhost", "127.0.0.1", "::1"] {
        assert_eq!(to(&proxies(""), host, 2375, false), None, "{host}");
    }
    for (none, host, direct) in [
        ("*", "h", true),
        ("example.com", "example.com", true),
        ("example.com", "a.example.com", true),
        (".example.com", "a.example.com", true),
        ("example.com", "notexample.com", false),
        ("a, 10.0.0.0/8", "10.1.2.3", true),
        ("10.0.0.0/8", "11.1.2.3", false),
        ("fd00::/8", "fd00::1", true),
        ("[fd00::1]", "fd00::1", true),
        ("h:2375", "h", true),
        ("h:2376", "h", false),
        ("[fd00::1]:2375", "fd00::1", true),
    ] {
        let found = to(&proxies(none), host, 2375, false);
        assert_eq!(found.is_none(), direct, "NO_PROXY={none} {host}");
    }
}

#[test]
fn an_address_that_is_none_is_refused_without_showing_it() {
    for value in ["socks5://u:secret@h:1", "ftp://u:secret@h", "http://"] {
        let proxies = Proxies {
            http: value.to_owned(),
            ..Proxies::default()
        };
        let Err(error) = proxies.to("h", 2375, false) else {
            panic!("{value} is taken");
        };
        assert_eq!(error.to_string(), "HTTP_PROXY is no address of an HTTP proxy");
        assert!(error.hint().contains("http://"));
        assert!(!format!("{proxies:?}").contains("secret"));
        // Not on the way, so not in the way.
        assert!(proxies.to("localhost", 2375, false).is_ok());
    }
}

/// A proxy that answers once. It tells what it was asked.
async fn proxy(answer: &'static str) -> (Proxies, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut head).await.unwrap() > 0);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut sent = [0; 4];
        if stream.read_exact(&mut sent).await.is_ok() {
            assert_eq!(&sent, b"ping");
            stream.write_all(b"pong").await.unwrap();
        }
        String::from_utf8(head).unwrap()
    });
    let proxies = Proxies {
        http: format!("http://user:pass@{address}"),
        ..Proxies::default()
    };
    (proxies, asked)
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways() {
    let (proxies, asked) = proxy("HTTP/1.1 200 Connection established\r\n\r\nhi").await;
    let proxy = proxies.to("engine.example", 2375, false).unwrap().unwrap();
    let mut pipe = proxy.connect("engine.example", 2375).await.unwrap();
    let mut greeting = [0; 2];
    pipe.read_exact(&mut greeting).await.unwrap();
    assert_eq!(
        &greeting, b"hi",
        "what came with the answer is part of the stream"
    );
    pipe.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    pipe.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"pong");
    let head = asked.await.unwrap();
    assert!(
        head.starts_with("CONNECT engine.example:2375 HTTP/1.1\r\n"),
        "{head}"
    );
    let head = head.to_ascii_lowercase();
    assert!(head.contains("host: engine.example:2375\r\n"), "{head}");
    assert!(
        head.contains("proxy-authorization: basic dxnlcjpwyxnz\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn a_refusal_names_the_proxy_and_not_its_password() {
    let (proxies, asked) = proxy("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = proxies.to("h", 2375, false).unwrap().unwrap();
    let shown = proxy.shown();
    let error = proxy.connect("h", 2375).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("The proxy {shown} (HTTP_PROXY) does not connect to h:2375: it answered 403 Forbidden")
    );
    assert!(!shown.contains("pass"), "{shown}");
    assert!(error.hint().contains("NO_PROXY"));
    asked.await.unwrap();
}

#[tokio::test]
async fn a_proxy_that_is_not_there_or_is_none_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let proxies = Proxies {
        http: address.to_string(),
        ..Proxies::default()
    };
    let proxy = proxies.to("h", 1, false).unwrap().unwrap();
    assert_eq!(
        proxy.connect("h", 1).await.unwrap_err().to_string(),
        format!("The proxy http://{address} (HTTP_PROXY) cannot be reached: Connection refused")
    );
    let (proxies, _asked) = self::proxy("220 mail.example ESMTP\r\n").await;
    let proxy = proxies.to("h", 1, false).unwrap().unwrap();
    let error = proxy.connect("h", 1).await.unwrap_err();
    assert!(matches!(error, ProxyError::Http { .. }), "{error}");
}
