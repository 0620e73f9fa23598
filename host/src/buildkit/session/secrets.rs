//! The secrets service: values for `RUN --mount=type=secret` and for git and HTTP sources.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bkhost_proto::secrets::secrets_server::{self, SecretsServer};
use bkhost_proto::secrets::{GetSecretRequest, GetSecretResponse};
use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tonic::{Code, Request, Response, Status};

use super::failure::Failures;
use super::services::Services;
use crate::buildkit::spec::Secret;

/// Largest secret that a daemon takes.
pub const SECRET_LIMIT: usize = 500 << 10;

pub(super) fn register(services: &mut Services, secrets: BTreeMap<String, Secret>, failures: Failures) {
    services.add(SecretsServer::new(Secrets { secrets, failures }), &["GetSecret"]);
}

struct Secrets {
    secrets: BTreeMap<String, Secret>,
    failures: Failures,
}

/// The file of a secret could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the file {path} of secret {id}", path = path.display())]
struct Unreadable {
    id: String,
    path: PathBuf,
    #[source]
    source: io::Error,
}

#[tonic::async_trait]
impl secrets_server::Secrets for Secrets {
    /// Most ids that are asked for are guesses of the daemon (`GIT_AUTH_TOKEN.<host>` …), so a miss is normal.
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        let data = match self.secrets.get(&id) {
            None => return Err(Status::not_found(format!("secret {id}: not found"))),
            Some(Secret::Value(value)) => value.clone(),
            Some(Secret::File(path)) => read(path).await.map_err(|source| {
                let (id, path) = (id.clone(), path.clone());
                self.unreadable(&Unreadable { id, path, source })
            })?,
        };
        if data.len() > SECRET_LIMIT {
            let text = format!("invalid secret size {}", data.len());
            return Err(Status::unknown(text));
        }
        Ok(Response::new(GetSecretResponse { data }))
    }
}

/// No more than what is needed to see that a file is too long.
async fn read(path: &Path) -> io::Result<Bytes> {
    let file = tokio::fs::File::open(path).await?;
    let mut data = Vec::new();
    file.take(SECRET_LIMIT as u64 + 1).read_to_end(&mut data).await?;
    Ok(data.into())
}

impl Secrets {
    fn unreadable(&self, error: &Unreadable) -> Status {
        let code = match error.source.kind() {
            io::ErrorKind::PermissionDenied => Code::PermissionDenied,
            _ => Code::Unknown,
        };
        self.failures.told(code, error)
    }
}

#[cfg(test)]
mod tests {
    use super::secrets_server::Secrets as _;
    use super::*;

    async fn get(secret: Secret) -> Result<Bytes, Status> {
        let secrets = Secrets {
            secrets: BTreeMap::from([("id".to_owned(), secret)]),
            failures: Failures::default(),
        };
        let request = GetSecretRequest {
            id: "id".into(),
            ..Default::default()
        };
        let response = secrets.get_secret(Request::new(request)).await?;
        Ok(response.into_inner().data)
    }

    #[tokio::test]
    async fn an_unknown_secret_is_not_found() {
        let secrets = Secrets {
            secrets: BTreeMap::new(),
            failures: Failures::default(),
        };
        let answer = secrets
            .get_secret(Request::new(GetSecretRequest::default()))
            .await;
        assert_eq!(answer.unwrap_err().code(), Code::NotFound);
    }

    #[tokio::test]
    async fn a_file_is_read_at_each_request() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for text in ["first", "second"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(get(Secret::File(path.clone())).await.unwrap(), text);
        }
        std::fs::remove_file(&path).unwrap();
        let error = get(Secret::File(path)).await.unwrap_err();
        assert_eq!(error.code(), Code::Unknown);
    }

    #[tokio::test]
    async fn a_secret_may_have_500_kib_and_no_more() {
        let whole = Bytes::from(vec![1; SECRET_LIMIT]);
        assert_eq!(get(Secret::Value(whole.clone())).await.unwrap(), whole);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, vec![1; SECRET_LIMIT + 1]).unwrap();
        let error = get(Secret::File(path)).await.unwrap_err();
        assert_eq!(error.message(), "invalid secret size 512001");
    }
}
