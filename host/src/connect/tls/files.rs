//! What TLS needs from the user's files.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, InconsistentKeys, RootCertStore, SignatureScheme,
};

use super::error::TlsError;

/// Longest file that is read: all authorities that a system trusts, many times over. A device would never end.
const LONGEST: u64 = 16 << 20;

/// A file that an option names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionFile {
    /// Name of the option, for messages.
    pub option: String,
    /// Where the file is.
    pub path: PathBuf,
}

impl OptionFile {
    /// The file at `path`, which `option` names.
    pub fn new(option: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            option: option.into(),
            path: path.into(),
        }
    }
}

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those of the authorities in a file (PEM), and no others.
    File(OptionFile),
    /// Those of the authorities that this machine trusts.
    System,
    /// Anybody's: the docker client has such a mode, drivers have none.
    Anybody,
}

/// What TLS needs from the user. Read at each connection, so that renewed files count at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Client certificate with its chain, and its key (PEM).
    pub identity: Option<(OptionFile, OptionFile)>,
}

impl TlsFiles {
    /// The configuration of a client that trusts and shows what these files hold. Blocks the thread.
    pub(super) fn client(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)
            .map_err(|error| TlsError::Unsupported {
                why: error.to_string(),
            })?;
        let builder = match &self.trust {
            Trust::File(file) => builder.with_root_certificates(roots(file)?),
            Trust::System => builder.with_root_certificates(system_roots()),
            Trust::Anybody => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(Arc::clone(&provider)))),
        };
        let Some((certificate, key)) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates(certificate)?;
        let secret = provider
            .key_provider
            .load_private_key(private_key(key)?)
            .map_err(|error| unusable(key, format!("has a private key that cannot be used: {error}")))?;
        Ok(builder.with_client_cert_resolver(identity(chain, secret, key, certificate)?))
    }
}

fn private_key(file: &OptionFile) -> Result<PrivateKeyDer<'static>, TlsError> {
    let data = read(file)?;
    PrivateKeyDer::from_pem_slice(&data).map_err(|error| {
        let text = String::from_utf8_lossy(&data);
        // Two forms: PKCS #8 says it in the heading, the older one in a field below it.
        if text.contains("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            unusable(
                file,
                "has a private key that is encrypted with a passphrase: decrypt it",
            )
        } else {
            unusable(file, format!("has no private key in PEM form: {error}"))
        }
    })
}

/// What the client proves itself by. The key must belong to the certificate; whether the certificate is good enough is
/// for the server to judge, which may take what the parser here does not know.
fn identity(
    chain: Vec<CertificateDer<'static>>,
    secret: Arc<dyn SigningKey>,
    key: &OptionFile,
    certificate: &OptionFile,
) -> Result<Arc<SingleCertAndKey>, TlsError> {
    let certified = CertifiedKey::new(chain, secret);
    match certified.keys_match() {
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(unusable(
            key,
            format!(
                "does not belong to the certificate `{}` of option `{}`",
                certificate.path.display(),
                certificate.option
            ),
        )),
        Err(rustls::Error::InvalidCertificate(error)) if !is_version_one(&error) => Err(unusable(
            certificate,
            format!("has a certificate that cannot be used: {error}"),
        )),
        Ok(()) | Err(_) => Ok(Arc::new(SingleCertAndKey::from(certified))),
    }
}

/// Whether it is only for its age that a certificate cannot be read here.
pub(super) fn is_version_one(error: &CertificateError) -> bool {
    let CertificateError::Other(other) = error else {
        return false;
    };
    matches!(
        other.0.downcast_ref(),
        Some(webpki::Error::UnsupportedCertVersion)
    )
}

fn roots(file: &OptionFile) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(file, format!("has a certificate that cannot be used: {error}")))?;
    }
    Ok(roots)
}

/// What cannot be read of the machine's own is not trusted.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Believes every certificate whose key the server has.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn certificates(file: &OptionFile) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let data = read(file)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&data).collect();
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(unusable(file, "has no certificate in PEM form")),
        Err(error) => Err(unusable(file, format!("is not in PEM form: {error}"))),
    }
}

fn read(file: &OptionFile) -> Result<Vec<u8>, TlsError> {
    let mut data = Vec::new();
    let opened = File::open(&file.path);
    // One byte more tells a file of just this size from a longer one.
    let read = opened.and_then(|opened| opened.take(LONGEST + 1).read_to_end(&mut data));
    match read {
        Ok(length) if length as u64 > LONGEST => {
            Err(unusable(file, format!("has more than {} MiB", LONGEST >> 20)))
        }
        Ok(_) => Ok(data),
        Err(source) => Err(TlsError::Unreadable {
            option: file.option.clone(),
            path: file.path.clone(),
            source,
        }),
    }
}

fn unusable(file: &OptionFile, what: impl Into<String>) -> TlsError {
    TlsError::Unusable {
        option: file.option.clone(),
        path: file.path.clone(),
        what: what.into(),
    }
}
