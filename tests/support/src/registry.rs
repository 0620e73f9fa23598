//! A real registry on a loopback port.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::provided::program;
use crate::server::{Server, free_port, listens};
use crate::space;

/// Who may use a registry with a password.
pub const USER: &str = "builder";
/// That password.
pub const PASSWORD: &str = "opensesame";
/// Its bcrypt hash, the only kind that the registry takes.
const PASSWORD_HASH: &str = "$2b$05$abcdefghijklmnopqrstuuQbLfdQZSxZ9gjhA5V9o8Tyc6aQRO0Qi";

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.v2+json, application/octet-stream";

/// A running registry, empty at first. It is stopped, and its folder removed, on drop.
pub struct Registry {
    port: u16,
    _server: Server,
    _folder: tempfile::TempDir,
}

/// What the registry answered.
#[derive(Debug)]
pub struct Answer {
    /// Digest that the registry knows the content by.
    pub digest: String,
    /// The content.
    pub body: Value,
}

impl Registry {
    /// Starts one that speaks plain HTTP and serves everybody.
    ///
    /// # Panics
    ///
    /// When it does not start, with its log.
    pub fn start() -> Self {
        Self::start_with(|_| String::new())
    }

    /// Starts one that serves only [`USER`] with [`PASSWORD`].
    ///
    /// # Panics
    ///
    /// When it does not start, with its log.
    pub fn start_with_password() -> Self {
        Self::start_with(|folder| {
            let file = folder.join("htpasswd");
            std::fs::write(&file, format!("{USER}:{PASSWORD_HASH}\n")).unwrap();
            format!(
                "auth:\n  htpasswd:\n    realm: tests\n    path: {}\n",
                file.display()
            )
        })
    }

    fn start_with(more: impl FnOnce(&Path) -> String) -> Self {
        let folder = space::folder("bkr");
        let port = free_port();
        let more = more(folder.path());
        let settings = format!(
            "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{more}",
            folder.path().join("data").display()
        );
        let file = folder.path().join("registry.yml");
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new(program("registry"));
        command
            .arg("serve")
            .arg(&file)
            .env("OTEL_TRACES_EXPORTER", "none");
        let mut server = Server::start(command, &folder.path().join("log"));
        server.wait_until(|| listens(port));
        Self {
            port,
            _server: server,
            _folder: folder,
        }
    }

    /// A reference of a repository in this registry.
    pub fn reference(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// The manifest or index that a tag or digest names.
    ///
    /// # Panics
    ///
    /// When it is not there.
    pub fn manifest(&self, repository: &str, tag: &str) -> Answer {
        self.get(&format!("/v2/{repository}/manifests/{tag}"))
    }

    /// A blob that is JSON.
    ///
    /// # Panics
    ///
    /// When it is not there.
    pub fn blob(&self, repository: &str, digest: &str) -> Value {
        self.get(&format!("/v2/{repository}/blobs/{digest}")).body
    }

    fn get(&self, path: &str) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // Without chunks and without keep-alive: the answer ends with the connection.
        write!(
            stream,
            "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAccept: {ACCEPT}\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        assert!(
            head.lines().next().unwrap_or_default().contains(" 200 "),
            "GET {path}: {text}"
        );
        Answer {
            digest: header(head, "Docker-Content-Digest"),
            body: serde_json::from_str(body).unwrap(),
        }
    }
}

fn header(head: &str, name: &str) -> String {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.to_owned())
        .unwrap_or_default()
}
