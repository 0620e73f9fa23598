//! The driver `remote`: connects to a BuildKit daemon that is managed elsewhere.
//!
//! Options, endpoints and messages are those of buildx's driver of that name; the option `timeout` and the schemes
//! `podman-container` and `nerdctl-container` are its own.
#![forbid(unsafe_code)]

mod diagnosis;
mod endpoint;
mod greeting;
mod helper;
mod options;
mod target;

use std::time::Duration;

use bkhost_driver::{
    Config, Connection, Deadline, DialRequest, Driver, DriverInfo, Endpoint, Error, ErrorKind, Finding,
    Instance, Loss, OptionInfo, Pair, Result, Retry, State, Status, Step, Worker,
};

use crate::options::Settings;
use crate::target::Target;

bkhost_driver::export!(Remote);

/// The only instance of a node.
const INSTANCE: &str = "default";
/// How long one attempt may take, with TLS and greeting: longer than a lost packet and its first repetitions.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How long a daemon may take to be gone after its connections are.
const SETTLING: Duration = Duration::from_secs(1);

/// An opened node.
struct Remote {
    target: Target,
    settings: Settings,
}

impl Driver for Remote {
    fn describe() -> DriverInfo {
        let option = OptionInfo::new;
        let endpoint = Endpoint::required(endpoint::SCHEMES).with_variable("BUILDKIT_HOST");
        DriverInfo::new(
            "Connects to a BuildKit daemon that is managed elsewhere",
            endpoint,
        )
        .with_option(option(
            "cacert",
            "path",
            "Absolute path of the CA certificates to trust",
        ))
        .with_option(option("cert", "path", "Absolute path of the client certificate"))
        .with_option(option(
            "key",
            "path",
            "Absolute path of the client certificate's key",
        ))
        .with_option(option(
            "servername",
            "string",
            "Name to verify the server by; the endpoint's host without it",
        ))
        .with_option(
            option(
                "default-load",
                "bool",
                "Load images into the Docker Engine unless told otherwise",
            )
            .with_default("false"),
        )
        .with_option(option("timeout", "duration", "How long to wait for the daemon").with_default("20s"))
        .with_optional("diagnose")
        .with_extra("files", "false")
        .with_extra("flags", "false")
    }

    fn open(config: Config) -> Result<Self> {
        if !config.file_names().is_empty() {
            return Err(Error::invalid_config(
                "setting config file is not supported for remote driver",
            ));
        }
        if !config.daemon_flags().is_empty() {
            return Err(Error::invalid_config(
                "setting buildkit flags is not supported for remote driver",
            ));
        }
        let target = endpoint::parse(&config.endpoint())?;
        let settings = options::read(&config, &target)?;
        Ok(Self { target, settings })
    }

    /// A certificate that is refused, a peer that speaks something else, silence: these cannot tell whether the daemon
    /// runs, so they stay errors.
    fn status(&self) -> Result<Status> {
        match self.look(ATTEMPT) {
            Ok(()) => Ok(Status::new(State::Running)),
            Err(error) if self.is_nobody_there(&error) => {
                Ok(Status::new(State::Inactive).with_detail(error.message()))
            }
            Err(error) => Err(error),
        }
    }

    fn boot(&self, step: &Step<'_>) -> Result<()> {
        step.run("waiting for connection", |part| {
            let retry = Retry::new(part).within(self.settings.timeout);
            let retry = retry.when(|error| self.may_heal(error));
            let waited = retry.run(|deadline| self.look(deadline.timeout(ATTEMPT)));
            waited.map_err(|error| self.with_way_out(error))
        })
    }

    /// Without a look at the daemon: this is called before every dial, which looks anyway.
    fn instances(&self) -> Result<Vec<Instance>> {
        Ok(vec![Instance::new(INSTANCE, State::Running)])
    }

    fn dial(&self, instance: &str, request: &DialRequest) -> Result<Connection> {
        if instance != INSTANCE {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("There is no instance `{instance}`"),
            ));
        }
        if self.settings.tls.is_some() && self.target.is_helper() {
            let words = format!(
                "TLS options have no effect on `{}`: its helper encrypts by itself",
                self.target.url()
            );
            bkhost_driver::log::warning(words);
        }
        let timeout = request.step.time_left_or(self.settings.timeout);
        let mut connection = self.connect(timeout)?;
        let authority = self.settings.server_name.as_deref().or(self.target.authority());
        if let Some(authority) = authority {
            connection.set_authority(authority)?;
        }
        Ok(connection)
    }

    fn abilities(&self, _workers: &[Worker]) -> Vec<Pair> {
        vec![("default-load".to_owned(), self.settings.default_load.to_string())]
    }

    fn explain(&self, loss: &Loss) -> Result<Finding> {
        // A daemon that is being killed still accepts for a moment, and what it accepted is reset.
        let retry = Retry::new(&loss.step)
            .within(SETTLING)
            .when(|error| error.kind() == ErrorKind::Unavailable);
        let again = retry.run(|_| self.look(loss.step.time_left_or(ATTEMPT)));
        Ok(diagnosis::finding(&self.target, loss, again))
    }
}

impl Remote {
    /// One attempt, TLS included; both together take no longer than `timeout`.
    fn connect(&self, timeout: Duration) -> Result<Connection> {
        let deadline = Deadline::within(timeout);
        let connection = self.target.connect(timeout);
        let connection = connection.map_err(|error| helper::explained(&self.target, error))?;
        match &self.settings.tls {
            Some(tls) if !self.target.is_helper() => connection.start_tls(tls, deadline.timeout(timeout)),
            _ => Ok(connection),
        }
    }

    /// One attempt on a connection that is thrown away: whether something there speaks HTTP/2.
    fn look(&self, timeout: Duration) -> Result<()> {
        let deadline = Deadline::within(timeout);
        let connection = self.connect(timeout)?;
        let greeted = greeting::exchange(connection, &self.target, deadline);
        greeted.map_err(|error| helper::explained(&self.target, error))
    }

    /// Waiting may help.
    fn may_heal(&self, error: &Error) -> bool {
        error.is_transient() || self.is_nobody_there(error)
    }

    /// Says how to wait longer, where waiting was given up and nothing else is known to help.
    fn with_way_out(&self, error: Error) -> Error {
        if error.hint().is_some() || !self.may_heal(&error) {
            return error;
        }
        let check = match helper::misses_socket(&error) {
            true => {
                "Check that the daemon listens on its default socket there, whatever its other addresses are"
            }
            false => "Check that the daemon runs there",
        };
        error.with_hint(format!(
            "{check}; the driver option `timeout` ({:?}) says how long to wait for it",
            self.settings.timeout
        ))
    }

    /// Nobody listens. A socket file that is not there may still come; a host name that is not known will not.
    fn is_nobody_there(&self, error: &Error) -> bool {
        let missing = error.kind() == ErrorKind::NotFound && self.target.is_unix();
        error.kind() == ErrorKind::Refused || missing || helper::is_nobody_there(error)
    }
}

#[cfg(test)]
mod tests;
