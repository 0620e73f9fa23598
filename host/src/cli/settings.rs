//! What a command works with: environment, store, docker client's files and drivers, put together once; and the choice
//! of the builder.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::builders::{self, Builder};
use super::engine::{self, Active, LOCAL_NOTE};
use super::env_vars::{self, Environment};
use super::values;
use crate::docker::proxy::Proxies;
use crate::docker::sockets::Places;
use crate::docker::{EngineSettings, Engines};
use crate::driver::node::{Cancel, DialRequest, Drivers};
use crate::error::{CommandError, Result};
use crate::progress::event::Sink;
use crate::store::Store;
use crate::store::docker::DockerEnvironment;
use crate::store::docker::config::{self, DockerConfig};
use crate::store::docker::contexts::Contexts;
use crate::store::docker::credentials::DockerCredentials;
use crate::store::layout::Layout;
use crate::store::owner::{self, Owner};
use crate::ui::Ui;

/// Everything a command may use.
pub struct Context<'a> {
    /// The environment as it was at the start.
    pub environment: &'a Environment,
    /// The door to the terminal.
    pub ui: &'a Ui,
    /// The drivers there are.
    pub drivers: &'a dyn Drivers,
    /// The builder store.
    pub store: Store,
    /// The docker client's configuration.
    pub docker: DockerConfig,
    /// The docker client's contexts.
    pub contexts: Contexts,
    /// The Docker Engines, as drivers know them.
    pub engines: Arc<Engines>,
    /// `--builder`, else `BUILDX_BUILDER`.
    pub builder: Option<String>,
    /// Ends what is going on.
    pub cancel: Cancel,
}

impl<'a> Context<'a> {
    /// Reads the docker client's configuration and finds the store; nothing is made.
    pub fn new(
        environment: &'a Environment,
        ui: &'a Ui,
        drivers: &'a dyn Drivers,
        builder: Option<String>,
    ) -> Self {
        let docker_environment = docker_environment(environment);
        let (docker, warning) = DockerConfig::load(&docker_environment.folder);
        if let Some(warning) = warning {
            ui.warn(warning);
        }
        let root = store_root(environment);
        let owner = owner_below(environment, &root);
        let builder = builder
            .filter(|name| !name.is_empty())
            .or_else(|| environment.get(env_vars::BUILDX_BUILDER).map(str::to_owned));
        Self {
            environment,
            ui,
            drivers,
            store: Store::new(Layout::new(root, owner)),
            contexts: Contexts::new(docker_environment, &docker),
            docker,
            engines: drivers
                .engines()
                .unwrap_or_else(|| Arc::new(Engines::new(engines(environment)))),
            builder,
            cancel: Cancel::new(),
        }
    }

    /// Registry credentials of the docker client.
    pub fn credentials(&self) -> DockerCredentials {
        let environment = docker_environment(self.environment);
        let scoped = self.store.layout().scoped_configs();
        let (credentials, warning) = DockerCredentials::new(environment, self.docker.clone(), scoped);
        if let Some(warning) = warning {
            self.ui.say(warning);
        }
        let unwanted = self
            .environment
            .get(env_vars::BUILDKIT_NO_CLIENT_TOKEN)
            .is_some_and(|text| values::boolean(text).unwrap_or(false));
        credentials.with_client_tokens(!unwanted)
    }

    /// A request to a driver that is ended by this command's end.
    pub fn request(&self, sink: Sink, deadline: Option<Instant>, purpose: &'static str) -> DialRequest {
        DialRequest {
            sink,
            deadline: deadline.into(),
            cancel: self.cancel.clone(),
            purpose,
        }
    }

    /// Says that the store is busy.
    pub fn waiting(&self) -> impl FnOnce(String) + '_ {
        |line| self.ui.say(line)
    }

    /// The name that is selected for the active docker context, if that builder exists.
    pub fn selected(&self) -> Result<Option<String>> {
        let key = self.contexts.key()?;
        let has_local = builders::local(self).is_some();
        let exists = |name: &str| self.store.contains(name) || (has_local && name == builders::LOCAL);
        Ok(self.store.selected(&key, exists)?)
    }
}

/// A builder that was not named, and what to tell the user about the choice.
pub struct Choice {
    /// The builder.
    pub builder: Builder,
    /// A line for the user when the choice may surprise.
    pub note: Option<String>,
}

/// Finds the builder to use: `name`, else `--builder` or `BUILDX_BUILDER`, else the [`current`] one.
pub async fn resolve_builder(context: &Context<'_>, name: Option<&str>) -> Result<Choice> {
    match name.or(context.builder.as_deref()) {
        Some(name) => named(context, name).await,
        None => current(context).await,
    }
}

/// The builder that commands use when none is named: the selected one, else a daemon at `BUILDKIT_HOST`, else the
/// engine of the active docker context if there is one, else the implicit builder `local`.
pub async fn current(context: &Context<'_>) -> Result<Choice> {
    if let Some(name) = context.selected()? {
        return named(context, &name).await;
    }
    if let Some(builder) = builders::at_buildkit_host(context).await {
        let note = format!("Using the daemon at `{}` (BUILDKIT_HOST)", builder.endpoint());
        return Ok(Choice {
            builder,
            note: Some(note),
        });
    }
    match (engine::active(context)?, builders::local(context)) {
        (Active::There(engine), _) => Ok(plain(Builder::of_context(&engine))),
        (Active::Nowhere(_), Some(local)) => Ok(Choice {
            note: Some(engine::local_note(context).await),
            builder: local,
        }),
        // What is missing is said when it is asked.
        (Active::Nowhere(engine), None) => Ok(plain(Builder::of_context(&engine))),
        (Active::Unserved, Some(local)) => Ok(Choice {
            note: Some(format!("{LOCAL_NOTE}: no builder is selected")),
            builder: local,
        }),
        (Active::Unserved, None) => Err(not_found(context.contexts.active())),
    }
}

/// Name of the [`current`] builder; empty when there is none.
pub async fn current_name(context: &Context<'_>) -> String {
    let current = current(context).await;
    current
        .map(|choice| choice.builder.record.name)
        .unwrap_or_default()
}

fn plain(builder: Builder) -> Choice {
    Choice { builder, note: None }
}

async fn named(context: &Context<'_>, name: &str) -> Result<Choice> {
    builders::find(context, name)
        .await?
        .map(plain)
        .ok_or_else(|| unknown_builder(context, name))
}

/// The error for a builder that does not exist, with what may have been meant.
pub fn unknown_builder(context: &Context<'_>, name: &str) -> CommandError {
    with_known(context, name, not_found(name))
}

/// Adds to `error` what may have been meant by a `name` that no builder has.
pub fn with_known(context: &Context<'_>, name: &str, error: CommandError) -> CommandError {
    let known: Vec<String> = context
        .store
        .list()
        .map(|listing| {
            listing
                .builders
                .into_iter()
                .map(|stored| stored.record.name)
                .collect()
        })
        .unwrap_or_default();
    match values::nearest(name, known.iter().map(String::as_str)) {
        Some(near) => error.with_hint(format!("Did you mean `{near}`?")),
        None => error.with_hint("`bkhost ls` lists the builders, `bkhost create` makes one"),
    }
}

/// The error for a builder that does not exist, in the words of buildx.
pub fn not_found(name: &str) -> CommandError {
    CommandError::user(format!("no builder {name:?} found"))
}

/// Root of the builder store: `BUILDX_CONFIG`, else `buildx` beside the docker client's configuration.
fn store_root(environment: &Environment) -> PathBuf {
    environment
        .get(env_vars::BUILDX_CONFIG)
        .map_or_else(|| docker_folder(environment).join("buildx"), PathBuf::from)
}

/// The folder of the docker client's configuration.
pub fn docker_folder(environment: &Environment) -> PathBuf {
    config::folder(environment.get(env_vars::DOCKER_CONFIG), &environment.home())
}

fn docker_environment(environment: &Environment) -> DockerEnvironment {
    let get = |name: &str| environment.get(name).map(str::to_owned);
    DockerEnvironment {
        folder: docker_folder(environment),
        host: get(env_vars::DOCKER_HOST),
        context: get(env_vars::DOCKER_CONTEXT),
        tls: environment.get(env_vars::DOCKER_TLS).is_some(),
        tls_verify: environment.get(env_vars::DOCKER_TLS_VERIFY).is_some(),
        cert_path: environment.get(env_vars::DOCKER_CERT_PATH).map(PathBuf::from),
        tls_files: environment.called.tls_files.clone(),
        auth_config: get(env_vars::DOCKER_AUTH_CONFIG),
        path: get(env_vars::PATH).unwrap_or_default(),
    }
}

/// How Docker Engines are found and spoken to. Nothing is read yet.
pub fn engines(environment: &Environment) -> EngineSettings {
    let policy = environment.get(env_vars::BUILDX_DEFAULT_POLICY);
    EngineSettings {
        docker: docker_environment(environment),
        scoped: Layout::new(store_root(environment), None).scoped_configs(),
        api_version: environment.get(env_vars::DOCKER_API_VERSION).map(str::to_owned),
        needs_policy: policy.is_some_and(|text| values::boolean(text).unwrap_or(true)),
        executable: std::env::current_exe().unwrap_or_default(),
        proxies: proxies(environment),
        places: places(environment),
    }
}

/// The proxy variables, in either letter case.
fn proxies(environment: &Environment) -> Proxies {
    let get = |name: &str| {
        let value = environment
            .get(name)
            .or_else(|| environment.get(&name.to_ascii_lowercase()));
        value.unwrap_or_default().to_owned()
    };
    Proxies {
        http: get(env_vars::HTTP_PROXY),
        https: get(env_vars::HTTPS_PROXY),
        none: get(env_vars::NO_PROXY),
    }
}

fn places(environment: &Environment) -> Places {
    let user = rustix::process::geteuid().as_raw();
    let runtime = environment.get(env_vars::XDG_RUNTIME_DIR).map(PathBuf::from);
    Places {
        home: environment.known_home(),
        runtime: Some(runtime.unwrap_or_else(|| format!("/run/user/{user}").into())),
    }
}

/// The user behind sudo, when what is written below `root` is theirs.
pub fn owner_below(environment: &Environment, root: &std::path::Path) -> Option<Owner> {
    if !environment.has(env_vars::SUDO_COMMAND) {
        return None;
    }
    owner::behind_sudo(
        environment.get(env_vars::SUDO_UID),
        environment.get(env_vars::SUDO_GID),
        &environment.home(),
        root,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildkit::spec::RegistryCredentials as _;
    use crate::cli::machine;
    use crate::driver::catalog::Catalog;

    fn client_tokens(variables: &[(&str, &str)]) -> bool {
        let environment = Environment::of(variables.iter().copied(), std::path::Path::new("/"));
        let ui = Ui::new(
            Box::new(std::io::sink()),
            Box::new(std::io::sink()),
            false,
            false,
            false,
        );
        let drivers = Catalog::new(machine::of(&environment));
        Context::new(&environment, &ui, &drivers, None)
            .credentials()
            .client_tokens()
    }

    #[test]
    fn tokens_are_fetched_here_unless_the_user_does_not_want_it() {
        assert!(client_tokens(&[]));
        assert!(client_tokens(&[("BUILDKIT_NO_CLIENT_TOKEN", "0")]));
        assert!(client_tokens(&[("BUILDKIT_NO_CLIENT_TOKEN", "no")]));
        assert!(!client_tokens(&[("BUILDKIT_NO_CLIENT_TOKEN", "1")]));
    }
}
