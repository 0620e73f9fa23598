//! A certificate authority with a server and a client, as files.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Name in the server's certificate, beside the address `127.0.0.1`.
pub const SERVER_NAME: &str = "builder.test";

/// `ca.pem`, `server.pem`, `server-key.pem`, `client.pem` and `client-key.pem` in a folder that lives as long as this.
pub struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    /// Makes new ones for servers on the loopback interface.
    ///
    /// # Panics
    ///
    /// When they cannot be made or written.
    pub fn new() -> Self {
        Self::for_names(&[SERVER_NAME, "127.0.0.1"])
    }

    /// Makes new ones whose server has other names.
    ///
    /// # Panics
    ///
    /// When they cannot be made or written.
    pub fn for_names(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = CertifiedIssuer::self_signed(authority(), KeyPair::generate().unwrap()).unwrap();
        let certificates = Self { folder };
        certificates.write("ca.pem", &authority.pem());
        certificates.issue(&authority, "server", names, ExtendedKeyUsagePurpose::ServerAuth);
        certificates.issue(&authority, "client", &[], ExtendedKeyUsagePurpose::ClientAuth);
        certificates
    }

    /// Path of one of the files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder of the files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn issue(
        &self,
        authority: &CertifiedIssuer<'_, KeyPair>,
        role: &str,
        names: &[&str],
        purpose: ExtendedKeyUsagePurpose,
    ) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, role);
        params.extended_key_usages = vec![purpose];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, authority).unwrap();
        self.write(&format!("{role}.pem"), &certificate.pem());
        self.write(&format!("{role}-key.pem"), &key.serialize_pem());
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.file(name), content).unwrap();
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "authority of a test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
