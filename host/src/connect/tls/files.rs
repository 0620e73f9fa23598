//! What TLS needs from the user's files.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, InconsistentKeys, RootCertStore};

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

/// What TLS needs from the user. Read at each connection, so that renewed files count at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of authorities (PEM).
    pub authority: OptionFile,
    /// Client certificate with its chain, and its key (PEM).
    pub identity: Option<(OptionFile, OptionFile)>,
}

impl TlsFiles {
    /// The configuration of a client that trusts and shows what these files hold. Blocks the thread.
    pub(super) fn client(&self) -> Result<ClientConfig, TlsError> {
        let roots = roots(&self.authority)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)
            .map_err(|error| unusable(&self.authority, format!("cannot be used: {error}")))?
            .with_root_certificates(roots);
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
