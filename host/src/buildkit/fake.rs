//! A daemon in memory that does what a test tells it, for tests.

mod export;

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

pub(crate) use self::export::Export;
use bkhost_proto::control::control_server::{Control, ControlServer};
use bkhost_proto::control::*;
use bkhost_proto::gateway;
use bkhost_proto::gateway::llb_bridge_server::{LlbBridge, LlbBridgeServer};
use futures::{Stream, StreamExt};
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming, async_trait};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the daemon was asked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) solves: Vec<SolveRequest>,
    pub(crate) frontend_solves: Vec<gateway::SolveRequest>,
    pub(crate) builds: Vec<String>,
    pub(crate) sessions: Vec<tonic::metadata::MetadataMap>,
    pub(crate) sessions_closed: usize,
    authorities: Vec<String>,
}

/// A daemon whose `Solve` goes on when a result or an error was returned to it.
#[derive(Clone)]
pub(crate) struct Daemon {
    pub(crate) workers: ListWorkersResponse,
    /// It knows no `Info`, as daemons before 0.11.
    pub(crate) old: bool,
    /// The frontend's answer.
    pub(crate) result: Result<gateway::Result, Status>,
    /// It never answers a solve, whatever is returned.
    pub(crate) solve_hangs: bool,
    /// Its progress never ends.
    pub(crate) status_hangs: bool,
    /// So often it says, after 6 s, that it does not know the build whose progress is asked for.
    pub(crate) status_late: Arc<AtomicUsize>,
    /// What it exports to the client when a result was returned to it.
    pub(crate) export: Option<Export>,
    /// It answers nothing more, not even a probe.
    pub(crate) frozen: watch::Sender<bool>,
    pub(crate) asked: Arc<Mutex<Asked>>,
    pub(crate) returned: watch::Sender<Option<gateway::ReturnRequest>>,
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            workers: ListWorkersResponse::default(),
            old: false,
            result: Ok(gateway::Result::default()),
            solve_hangs: false,
            status_hangs: false,
            status_late: Arc::default(),
            export: None,
            frozen: watch::Sender::new(false),
            asked: Arc::default(),
            returned: watch::Sender::new(None),
        }
    }
}

impl Daemon {
    pub(crate) fn routes(&self) -> Routes {
        let asked = Arc::clone(&self.asked);
        let note = move |request: http::Request<tonic::body::Body>| {
            let authority = request.uri().authority().map(ToString::to_string);
            asked.lock().unwrap().authorities.extend(authority);
            request
        };
        let control = tower::ServiceBuilder::new()
            .map_request(note)
            .service(ControlServer::new(self.clone()));
        Routes::new(Named(control)).add_service(LlbBridgeServer::new(self.clone()))
    }

    pub(crate) fn authorities(&self) -> Vec<String> {
        self.asked.lock().unwrap().authorities.clone()
    }
}

/// A wrapped `Control` service under its own name.
#[derive(Clone)]
struct Named<S>(S);

impl<S> tonic::server::NamedService for Named<S> {
    const NAME: &'static str = <ControlServer<Daemon> as tonic::server::NamedService>::NAME;
}

impl<S: tower_service::Service<R>, R> tower_service::Service<R> for Named<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.call(request)
    }
}

#[async_trait]
impl Control for Daemon {
    type PruneStream = Answers<UsageRecord>;
    type StatusStream = Answers<StatusResponse>;
    type SessionStream = Answers<BytesMessage>;
    type ListenBuildHistoryStream = Answers<BuildHistoryEvent>;

    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        if self.old {
            return Err(Status::unimplemented("unknown method Info"));
        }
        let mut frozen = self.frozen.subscribe();
        let _ = frozen.wait_for(|frozen| !frozen).await;
        Ok(Response::new(InfoResponse::default()))
    }

    async fn list_workers(
        &self,
        _: Request<ListWorkersRequest>,
    ) -> Result<Response<ListWorkersResponse>, Status> {
        Ok(Response::new(self.workers.clone()))
    }

    async fn solve(&self, request: Request<SolveRequest>) -> Result<Response<SolveResponse>, Status> {
        self.asked.lock().unwrap().solves.push(request.into_inner());
        if self.solve_hangs {
            std::future::pending::<()>().await;
        }
        let mut returned = self.returned.subscribe();
        let returned = returned.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        match returned.error {
            Some(error) => Err(Status::new(
                error.code.into(),
                format!("daemon: {}", error.message),
            )),
            None => {
                if let Some(export) = &self.export {
                    export.run().await?;
                }
                Ok(Response::new(SolveResponse {
                    exporter_response: [("key".to_owned(), "value".to_owned())].into(),
                }))
            }
        }
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<Self::StatusStream>, Status> {
        let late = self
            .status_late
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        if late.is_ok() {
            tokio::time::sleep(std::time::Duration::from_secs(6)).await;
            return Err(Status::not_found("no such job"));
        }
        let vertex = Vertex {
            digest: "sha256:a".into(),
            ..Default::default()
        };
        let first = futures::stream::iter([Ok(StatusResponse {
            vertexes: vec![vertex],
            ..Default::default()
        })]);
        let updates: Self::StatusStream = match self.status_hangs {
            true => Box::pin(first.chain(futures::stream::pending())),
            false => Box::pin(first),
        };
        Ok(Response::new(updates))
    }

    async fn session(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let sessions = &mut self.asked.lock().unwrap().sessions;
        sessions.push(request.metadata().clone());
        if let Some(export) = &self.export {
            return Ok(Response::new(export.enter(request.into_inner())));
        }
        let asked = Arc::clone(&self.asked);
        let mut incoming = request.into_inner();
        let until_closed = futures::stream::once(async move {
            while let Ok(Some(_)) = incoming.message().await {}
            asked.lock().unwrap().sessions_closed += 1;
            Ok(BytesMessage::default())
        });
        Ok(Response::new(Box::pin(until_closed)))
    }

    async fn disk_usage(&self, _: Request<DiskUsageRequest>) -> Result<Response<DiskUsageResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn prune(&self, _: Request<PruneRequest>) -> Result<Response<Self::PruneStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn listen_build_history(
        &self,
        _: Request<BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn update_build_history(
        &self,
        _: Request<UpdateBuildHistoryRequest>,
    ) -> Result<Response<UpdateBuildHistoryResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

macro_rules! unimplemented_calls {
    ($($call:ident: $request:ident -> $response:ident;)*) => {
        #[async_trait]
        impl LlbBridge for Daemon {
            async fn ping(&self, request: Request<gateway::PingRequest>) -> Result<Response<gateway::PongResponse>, Status> {
                self.note_build(&request);
                Ok(Response::new(gateway::PongResponse::default()))
            }

            async fn solve(&self, request: Request<gateway::SolveRequest>) -> Result<Response<gateway::SolveResponse>, Status> {
                self.note_build(&request);
                self.asked.lock().unwrap().frontend_solves.push(request.into_inner());
                let result = self.result.clone()?;
                Ok(Response::new(gateway::SolveResponse { result: Some(result), ..Default::default() }))
            }

            async fn r#return(&self, request: Request<gateway::ReturnRequest>) -> Result<Response<gateway::ReturnResponse>, Status> {
                self.note_build(&request);
                self.returned.send_replace(Some(request.into_inner()));
                Ok(Response::new(gateway::ReturnResponse::default()))
            }

            $(async fn $call(&self, _: Request<gateway::$request>) -> Result<Response<gateway::$response>, Status> {
                Err(Status::unimplemented(""))
            })*
        }
    };
}

unimplemented_calls! {
    resolve_image_config: ResolveImageConfigRequest -> ResolveImageConfigResponse;
    resolve_source_meta: ResolveSourceMetaRequest -> ResolveSourceMetaResponse;
    read_file: ReadFileRequest -> ReadFileResponse;
    read_dir: ReadDirRequest -> ReadDirResponse;
    stat_file: StatFileRequest -> StatFileResponse;
    evaluate: EvaluateRequest -> EvaluateResponse;
    inputs: InputsRequest -> InputsResponse;
    warn: WarnRequest -> WarnResponse;
}

impl Daemon {
    fn note_build<T>(&self, request: &Request<T>) {
        let build = request.metadata().get("buildkit-controlapi-buildid");
        let build = build.map_or("", |build| build.to_str().unwrap());
        self.asked.lock().unwrap().builds.push(build.to_owned());
    }
}
