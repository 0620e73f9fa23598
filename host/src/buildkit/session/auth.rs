//! The auth service: registry credentials, and tokens fetched on the client so that passwords stay there.

use std::sync::Arc;

use bkhost_proto::filesync::auth_server::{self, AuthServer};
use bkhost_proto::filesync::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use tonic::{Request, Response, Status};

use super::services::Services;
use crate::buildkit::spec::{Credential, RegistryCredentials};
use authority::Authority;

mod authority;
mod token;

pub(super) fn register(services: &mut Services, registry: Arc<dyn RegistryCredentials>) {
    services.add(
        AuthServer::new(Auth { registry }),
        &[
            "Credentials",
            "FetchToken",
            "GetTokenAuthority",
            "VerifyTokenAuthority",
        ],
    );
}

struct Auth {
    registry: Arc<dyn RegistryCredentials>,
}

impl Auth {
    async fn credential(&self, host: &str) -> Result<Credential, Status> {
        let credential = self.registry.credentials(host).await;
        credential.map_err(Status::unknown)
    }

    /// Without client tokens the daemon must believe that there is no authority, and ask for the password.
    async fn authority(&self, host: &str, salt: &[u8]) -> Result<Authority, Status> {
        if !self.registry.client_tokens() {
            return Err(Status::unavailable("client side tokens disabled"));
        }
        let credential = self.credential(host).await?;
        let folder = match credential.secret.is_empty() {
            true => None,
            false => self.registry.seed_folder(),
        };
        let (host, salt) = (host.to_owned(), salt.to_vec());
        tokio::task::spawn_blocking(move || Authority::of(&salt, folder.as_deref(), &host))
            .await
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| Status::unknown(format!("cannot read the token seed: {error}")))
    }
}

#[tonic::async_trait]
impl auth_server::Auth for Auth {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let credential = self.credential(&request.into_inner().host).await?;
        Ok(Response::new(CredentialsResponse {
            username: credential.username,
            secret: credential.secret,
        }))
    }

    async fn fetch_token(
        &self,
        request: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        let request = request.into_inner();
        let credential = self
            .registry
            .credentials_for(&request.host, &request.scopes)
            .await
            .map_err(Status::unknown)?;
        let token = token::fetch(&request, &credential).await;
        token
            .map(Response::new)
            .map_err(|error| Status::unknown(error.to_string()))
    }

    async fn get_token_authority(
        &self,
        request: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        let request = request.into_inner();
        let authority = self.authority(&request.host, &request.salt).await?;
        Ok(Response::new(GetTokenAuthorityResponse {
            public_key: authority.public_key(),
        }))
    }

    async fn verify_token_authority(
        &self,
        request: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        let request = request.into_inner();
        let authority = self.authority(&request.host, &request.salt).await?;
        Ok(Response::new(VerifyTokenAuthorityResponse {
            signed: authority.sign(&request.payload),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::auth_server::Auth as _;
    use super::*;
    use std::path::PathBuf;

    struct Fixed {
        credential: Credential,
        client_tokens: bool,
    }

    #[async_trait::async_trait]
    impl RegistryCredentials for Fixed {
        async fn credentials(&self, host: &str) -> Result<Credential, String> {
            match host {
                "broken" => Err("helper not found".to_owned()),
                _ => Ok(self.credential.clone()),
            }
        }

        async fn credentials_for(&self, host: &str, scopes: &[String]) -> Result<Credential, String> {
            Ok(Credential {
                registry_token: format!("token of {host} for {}", scopes.join(" ")),
                ..Credential::default()
            })
        }

        fn seed_folder(&self) -> Option<PathBuf> {
            None
        }

        fn client_tokens(&self) -> bool {
            self.client_tokens
        }
    }

    fn auth(client_tokens: bool) -> Auth {
        let credential = Credential {
            username: "me".into(),
            secret: "pw".into(),
            ..Default::default()
        };
        Auth {
            registry: Arc::new(Fixed {
                credential,
                client_tokens,
            }),
        }
    }

    #[tokio::test]
    async fn credentials_are_handed_over() {
        let request = |host: &str| Request::new(CredentialsRequest { host: host.into() });
        let answer = auth(true).credentials(request("r")).await.unwrap().into_inner();
        assert_eq!((answer.username.as_str(), answer.secret.as_str()), ("me", "pw"));
        let error = auth(true).credentials(request("broken")).await.unwrap_err();
        assert_eq!(error.message(), "helper not found");
    }

    #[tokio::test]
    async fn a_token_is_fetched_with_the_credentials_of_its_scopes() {
        let request = FetchTokenRequest {
            host: "r".into(),
            scopes: vec!["repository:team/app:pull".into()],
            ..FetchTokenRequest::default()
        };
        let answer = auth(true).fetch_token(Request::new(request)).await;
        assert_eq!(
            answer.unwrap().into_inner().token,
            "token of r for repository:team/app:pull"
        );
    }

    #[tokio::test]
    async fn without_client_tokens_there_is_no_authority() {
        let answer = auth(false)
            .get_token_authority(Request::new(GetTokenAuthorityRequest::default()))
            .await;
        assert_eq!(answer.unwrap_err().code(), tonic::Code::Unavailable);
    }
}
