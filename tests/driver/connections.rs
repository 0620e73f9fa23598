//! Connections out of a guest: which it may open, and how they live on without it.

use bkhost::driver::node::{DriverErrorKind, NodeConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::fixture::{config, misbehaving, open, request};

#[tokio::test]
async fn an_endpoint_that_no_builder_names_is_not_opened() {
    let error = misbehaving("forbidden").await.status().await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::Denied);
    assert_eq!(
        error.message,
        "`open-unix` of `/etc/shadow` is not granted: the builder's endpoint is `unix:///run/nowhere.sock`"
    );
}

#[tokio::test]
async fn a_connection_outlives_the_guest_with_what_it_read_too_far() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("daemon.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let daemon = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut greeting = [0; 9];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"HELLO i1\n");
        stream.write_all(b"WELCOME\nfirst-").await.unwrap();
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
    });
    let node = open(NodeConfig {
        endpoint: format!("unix://{}", path.display()),
        ..config("handshake")
    })
    .await
    .unwrap();
    let mut pipe = node.dial("i1", request()).await.unwrap();
    drop(node);
    assert_eq!(pipe.authority(), Some("builder.example:1234"));
    pipe.write_all(b"later").await.unwrap();
    pipe.shutdown().await.unwrap();
    let mut all = String::new();
    pipe.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "first-later");
    daemon.await.unwrap();
}

#[tokio::test]
async fn nobody_at_the_endpoint_is_told_as_such() {
    let error = misbehaving("").await.dial("i", request()).await.unwrap_err();
    assert!(
        matches!(error.kind, DriverErrorKind::NotFound | DriverErrorKind::Refused),
        "{error:?}"
    );
    assert!(error.message.contains("/run/nowhere.sock"), "{}", error.message);
}

#[tokio::test]
async fn many_dials_at_once_are_many_guests() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("daemon.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        // Nobody is answered before all are there.
        let mut streams = Vec::new();
        while streams.len() < 10 {
            streams.push(listener.accept().await.unwrap().0);
        }
        for stream in &mut streams {
            stream.write_all(b"WELCOME\n").await.unwrap();
        }
        std::future::pending::<()>().await;
    });
    let node = open(NodeConfig {
        endpoint: format!("unix://{}", path.display()),
        ..config("handshake")
    })
    .await
    .unwrap();
    let dials = (0..10).map(|number| {
        let node = &node;
        async move { node.dial(&number.to_string(), request()).await }
    });
    for pipe in futures::future::join_all(dials).await {
        pipe.unwrap();
    }
}
