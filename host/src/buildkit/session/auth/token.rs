//! Registry tokens, fetched from the realm that a registry names.

use std::sync::OnceLock;
use std::time::Duration;

use bkhost_proto::filesync::{FetchTokenRequest, FetchTokenResponse};
use jiff::Timestamp;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;

use crate::buildkit::spec::Credential;
use crate::causes;

/// A daemon gives up after 60 s; the user should see our error, not its.
const FETCH_LIMIT: Duration = Duration::from_secs(55);
/// Lifetime of a token whose answer does not say (RFC 6749 leaves it open; registries mean 60 s).
const DEFAULT_LIFETIME: i64 = 60;
/// How a client names itself to a token service.
const CLIENT_ID: &str = "buildkit-client";
/// Longest part of a refusal's body that is shown.
const SHOWN_BODY: usize = 512;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// With credentials.
    #[error("failed to fetch oauth token: {0}")]
    OAuth(FetchError),
    /// Without.
    #[error("failed to fetch anonymous token: {0}")]
    Anonymous(FetchError),
}

/// Why a request for a token failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// No answer.
    #[error("{}", causes::one_line(.0))]
    Request(#[from] reqwest::Error),
    /// The service refuses.
    #[error("unexpected status from {method} request to {url}: {status}{body}")]
    Status {
        method: &'static str,
        url: String,
        status: StatusCode,
        /// Empty, or `: ` and the body.
        body: String,
    },
    /// An answer without a token.
    #[error("authorization server did not include a token in the response")]
    NoToken,
}

/// The token that `request` asks for, with `credential` or anonymously. A configured registry token is returned as it
/// is.
pub(super) async fn fetch(
    request: &FetchTokenRequest,
    credential: &Credential,
) -> Result<FetchTokenResponse, TokenError> {
    if !credential.registry_token.is_empty() {
        return Ok(FetchTokenResponse {
            token: credential.registry_token.clone(),
            ..Default::default()
        });
    }
    if credential.secret.is_empty() {
        return anonymous(request).await.map_err(TokenError::Anonymous);
    }
    oauth(request, credential).await.map_err(TokenError::OAuth)
}

async fn anonymous(request: &FetchTokenRequest) -> Result<FetchTokenResponse, FetchError> {
    read(get(&client()?, request, None).await?).await
}

/// POST first; services that do not know it are asked with GET and basic authentication.
async fn oauth(
    request: &FetchTokenRequest,
    credential: &Credential,
) -> Result<FetchTokenResponse, FetchError> {
    let client = client()?;
    let response = client
        .post(&request.realm)
        .form(&form(request, credential))
        .send()
        .await?;
    if !falls_back(response.status(), credential) {
        return read(accepted("POST", response).await?).await;
    }
    read(get(&client, request, Some(credential)).await?).await
}

fn falls_back(status: StatusCode, credential: &Credential) -> bool {
    match status {
        StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED => true,
        StatusCode::METHOD_NOT_ALLOWED => !credential.username.is_empty(),
        _ => false,
    }
}

fn form<'a>(request: &'a FetchTokenRequest, credential: &'a Credential) -> Vec<(&'a str, String)> {
    let mut form = match credential.username.as_str() {
        "" => vec![
            ("grant_type", "refresh_token".to_owned()),
            ("refresh_token", credential.secret.clone()),
        ],
        username => vec![
            ("grant_type", "password".to_owned()),
            ("username", username.to_owned()),
            ("password", credential.secret.clone()),
        ],
    };
    form.push(("service", request.service.clone()));
    form.push(("client_id", CLIENT_ID.to_owned()));
    if !request.scopes.is_empty() {
        form.push(("scope", request.scopes.join(" ")));
    }
    form
}

async fn get(
    client: &Client,
    request: &FetchTokenRequest,
    credential: Option<&Credential>,
) -> Result<Response, FetchError> {
    let mut query = Vec::new();
    if !request.service.is_empty() {
        query.push(("service", &request.service));
    }
    query.extend(request.scopes.iter().map(|scope| ("scope", scope)));
    let mut get = client.get(&request.realm).query(&query);
    if let Some(credential) = credential {
        get = get.basic_auth(&credential.username, Some(&credential.secret));
    }
    accepted("GET", get.send().await?).await
}

async fn accepted(method: &'static str, response: Response) -> Result<Response, FetchError> {
    let status = response.status();
    if status.is_success() || status.is_redirection() {
        return Ok(response);
    }
    let mut url = response.url().clone();
    url.set_query(None);
    let body = response.text().await.unwrap_or_default();
    let shown: String = body.trim().chars().take(SHOWN_BODY).collect();
    Err(FetchError::Status {
        method,
        url: url.to_string(),
        status,
        body: match shown.is_empty() {
            true => shown,
            false => format!(": {shown}"),
        },
    })
}

/// What a token service answers; `access_token` wins.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    access_token: String,
    token: String,
    expires_in: i64,
    issued_at: Option<String>,
}

async fn read(response: Response) -> Result<FetchTokenResponse, FetchError> {
    let answer: Answer = response.json().await?;
    answer.into_response()
}

impl Answer {
    fn into_response(self) -> Result<FetchTokenResponse, FetchError> {
        let token = match self.access_token.is_empty() {
            true => self.token,
            false => self.access_token,
        };
        if token.is_empty() {
            return Err(FetchError::NoToken);
        }
        let issued: Option<Timestamp> = self.issued_at.and_then(|time| time.parse().ok());
        Ok(FetchTokenResponse {
            token,
            expires_in: match self.expires_in {
                0 => DEFAULT_LIFETIME,
                seconds => seconds,
            },
            issued_at: issued.map_or(0, Timestamp::as_second),
        })
    }
}

/// The client of this process: reading the system's certificates takes longer than most requests. As for other programs,
/// proxies come from the environment and trust from the system (`SSL_CERT_FILE`, `SSL_CERT_DIR`); the certificates that
/// a docker daemon keeps for its registries are the daemon's own.
fn client() -> Result<Client, FetchError> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    // An error says that there is one already, which will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .user_agent(CLIENT_ID)
        .timeout(FETCH_LIMIT)
        .build()?;
    Ok(CLIENT.get_or_init(|| client).clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A token service that gives `answers` in turn, one connection each, and tells what it was asked.
    async fn service(answers: Vec<&'static str>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let realm = format!("http://{}/token", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                asked.push(read_request(&mut stream).await);
                let (status, body) = answer.split_once(' ').unwrap();
                let length = body.len();
                let text = format!(
                    "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                stream.write_all(text.as_bytes()).await.unwrap();
            }
            asked
        });
        (realm, asked)
    }

    async fn read_request(stream: &mut tokio::net::TcpStream) -> String {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let n = stream.read(&mut buffer).await.unwrap();
            text.extend_from_slice(&buffer[..n]);
            let text = String::from_utf8_lossy(&text);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head
                .to_lowercase()
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text.into_owned();
            }
        }
    }

    fn request(realm: String) -> FetchTokenRequest {
        FetchTokenRequest {
            realm,
            service: "reg".into(),
            scopes: vec!["repository:a:pull".into(), "repository:b:pull".into()],
            ..Default::default()
        }
    }

    fn user() -> Credential {
        Credential {
            username: "me".into(),
            secret: "pw".into(),
            ..Default::default()
        }
    }

    #[tokio::test]
    async fn without_a_secret_the_token_is_anonymous() {
        let (realm, asked) = service(vec![
            r#"200 {"token":"t","expires_in":300,"issued_at":"2024-01-01T00:00:00Z"}"#,
        ])
        .await;
        let token = fetch(&request(realm), &Credential::default()).await.unwrap();
        assert_eq!(token.token, "t");
        assert_eq!(token.expires_in, 300);
        assert_eq!(token.issued_at, 1_704_067_200);
        let asked = asked.await.unwrap().remove(0);
        assert!(
            asked.starts_with(
                "GET /token?service=reg&scope=repository%3Aa%3Apull&scope=repository%3Ab%3Apull "
            )
        );
        assert!(!asked.to_lowercase().contains("authorization"));
    }

    #[tokio::test]
    async fn a_password_is_posted() {
        let (realm, asked) = service(vec![r#"200 {"access_token":"a","token":"t"}"#]).await;
        let token = fetch(&request(realm), &user()).await.unwrap();
        assert_eq!(token.token, "a");
        assert_eq!((token.expires_in, token.issued_at), (60, 0));
        let asked = asked.await.unwrap().remove(0);
        assert!(asked.starts_with("POST /token "));
        assert!(asked.ends_with(
            "grant_type=password&username=me&password=pw&service=reg&client_id=buildkit-client&scope=repository%3Aa%3Apull+repository%3Ab%3Apull"
        ), "{asked}");
    }

    #[tokio::test]
    async fn a_service_without_post_is_asked_with_get() {
        let (realm, asked) = service(vec!["405 no", r#"200 {"token":"t"}"#]).await;
        assert_eq!(fetch(&request(realm), &user()).await.unwrap().token, "t");
        let asked = asked.await.unwrap().remove(1);
        assert!(
            asked.to_lowercase().contains("authorization: basic bwu6chc="),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn a_refusal_names_the_service_and_its_words() {
        let (realm, _asked) = service(vec!["403 not you"]).await;
        let error = fetch(&request(realm.clone()), &user()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "failed to fetch oauth token: unexpected status from POST request to {realm}: 403 Forbidden: not you"
            )
        );
    }

    #[tokio::test]
    async fn a_registry_token_is_returned_as_it_is() {
        let credential = Credential {
            registry_token: "ready".into(),
            ..Default::default()
        };
        let token = fetch(&request("http://nowhere.invalid".into()), &credential).await;
        assert_eq!(token.unwrap().token, "ready");
    }

    #[test]
    fn an_identity_token_is_a_refresh_token() {
        let request = request(String::new());
        let credential = Credential {
            secret: "id".into(),
            ..Default::default()
        };
        let form = form(&request, &credential);
        assert_eq!(form[0], ("grant_type", "refresh_token".to_owned()));
        assert_eq!(form[1], ("refresh_token", "id".to_owned()));
    }

    #[test]
    fn an_answer_without_token_is_an_error() {
        assert!(matches!(
            Answer::default().into_response(),
            Err(FetchError::NoToken)
        ));
    }
}
