//! The trait that a driver implements.

use crate::{
    ByteStream, Config, Connection, DialRequest, DriverInfo, Error, ErrorKind, Finding, Instance, LogRequest,
    Loss, Pair, Removal, Result, State, Status, Step, Worker,
};

/// One node of a builder, opened.
///
/// Each operation of the host runs in a sandbox of its own: `open`, then one other function (or `status` and then
/// `instances`), then everything is thrown away. What must be remembered from one operation to the next goes to [`Config::memory`].
///
/// Functions that a driver does not write answer with the obvious, or with an error of kind `unsupported`. The
/// optional abilities (`explain`, `open_log`, and the four about size) are called only when [`DriverInfo::with_optional`]
/// names their interface.
pub trait Driver: Sized + 'static {
    /// What the driver says about itself. Called at any time, without configuration; calls nothing but [`log`](crate::log).
    fn describe() -> DriverInfo;

    /// Opens a node: validates the endpoint and every option, and touches nothing outside. Called at the start of every
    /// operation, also of `create` and `ls`.
    ///
    /// # Errors
    /// Of kind `invalid-config`; they name the option.
    fn open(config: Config) -> Result<Self>;

    /// State of the node as a whole. Quick, and changes nothing.
    ///
    /// # Errors
    /// "Cannot tell" is an error, never [`State::Inactive`].
    fn status(&self) -> Result<Status>;

    /// Connects to exactly this instance, once: the host repeats it where that is safe. The connection carries the
    /// authority, and bytes read beyond a handshake were put back.
    fn dial(&self, instance: &str, request: &DialRequest) -> Result<Connection>;

    /// The endpoint to store for this node; `typed` is what the user gave. Called by `create`; touches nothing outside.
    fn endpoint(&self, typed: &str) -> Result<String> {
        Ok(typed.to_owned())
    }

    /// Makes the daemon usable and returns when it can be dialled. Idempotent; many clients may do it at once. Retries by
    /// itself what may heal (see [`Retry`](crate::Retry)).
    ///
    /// Without it, a daemon that does not run cannot be helped.
    fn boot(&self, step: &Step<'_>) -> Result<()> {
        let status = self.status()?;
        if status.state == State::Running {
            return Ok(());
        }
        step.ensure_running()?;
        let message = "The daemon does not run, and this driver cannot start it";
        Err(Error::new(ErrorKind::Unavailable, message).with_detail("status", status.detail))
    }

    /// Live daemons. Called before every dial; changes nothing.
    ///
    /// Without it, there is one called `default` as long as [`Driver::status`] does not say otherwise.
    fn instances(&self) -> Result<Vec<Instance>> {
        let status = self.status()?;
        match status.state {
            State::Inactive | State::Stopped => Ok(Vec::new()),
            state => Ok(vec![Instance::new("default", state)]),
        }
    }

    /// What the options ask for when there are several instances: key `policy` with `sticky`, `sticky:KEY`, `random` or
    /// `least-loaded`. Touches nothing outside.
    fn placement(&self) -> Vec<Pair> {
        Vec::new()
    }

    /// What builds on this node can do, by documented keys (see `wit/driver/node.wit`). Absent means what an ordinary
    /// BuildKit daemon can do. `host-gateway` may be empty: the engine should have such an address and tells none.
    /// `exporter` is the daemon's name for the exporter `image`, and says that images stay in the engine. Touches nothing
    /// outside.
    fn abilities(&self, workers: &[Worker]) -> Vec<Pair> {
        let _ = workers;
        Vec::new()
    }

    /// Stops the daemon and keeps its state. Stopping what does not run is no error.
    fn stop(&self, step: &Step<'_>) -> Result<()> {
        let _ = step;
        Ok(())
    }

    /// Removes the daemon and, unless the removal says otherwise, its state; only what this driver made.
    fn remove(&self, step: &Step<'_>, removal: &Removal) -> Result<()> {
        let _ = (step, removal);
        Ok(())
    }

    /// Ability `diagnose`: says why a connection that was in use was lost, or a step of a build was killed. Changes nothing.
    fn explain(&self, loss: &Loss) -> Result<Finding> {
        let _ = loss;
        Err(Error::unsupported(
            "This driver cannot say why a connection was lost",
        ))
    }

    /// Ability `logs`: opens the daemon's log, which the host reads.
    fn open_log(&self, instance: &str, request: &LogRequest) -> Result<ByteStream> {
        let _ = (instance, request);
        Err(Error::unsupported("This driver has no log of its daemon"))
    }

    /// Ability `scale`: how many instances are wanted now.
    fn wanted_size(&self) -> Result<u32> {
        Err(Error::unsupported("This driver has one daemon a node"))
    }

    /// Ability `scale`: sets how many are wanted; returns when the change is accepted. Idempotent.
    fn resize(&self, size: u32, step: &Step<'_>) -> Result<()> {
        let _ = (size, step);
        Err(Error::unsupported("This driver has one daemon a node"))
    }

    /// Ability `scale`: keeps new builds away from an instance and returns when it may be stopped. Idempotent.
    fn drain(&self, instance: &str, step: &Step<'_>) -> Result<()> {
        let _ = (instance, step);
        Err(Error::unsupported("This driver cannot drain a daemon"))
    }

    /// Ability `scale`: replaces instances that differ from the configuration, one by one.
    fn upgrade(&self, step: &Step<'_>) -> Result<()> {
        let _ = step;
        Err(Error::unsupported("This driver cannot upgrade its daemons"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Endpoint;
    use crate::testing::Host;

    /// A driver with nothing but what is required; its endpoint is its state.
    struct Least(State);

    impl Driver for Least {
        fn describe() -> DriverInfo {
            DriverInfo::new("Least", Endpoint::derived())
        }

        fn open(config: Config) -> Result<Self> {
            match config.endpoint().as_str() {
                "running" => Ok(Self(State::Running)),
                _ => Ok(Self(State::Stopped)),
            }
        }

        fn status(&self) -> Result<Status> {
            Ok(Status::new(self.0).with_detail("as it is"))
        }

        fn dial(&self, _instance: &str, _request: &DialRequest) -> Result<Connection> {
            Err(Error::unsupported("No"))
        }
    }

    #[test]
    fn what_a_driver_does_not_write_is_the_obvious() {
        let host = Host::new().endpoint("running");
        let least = Least::open(host.config()).unwrap();
        let step = host.step("x");
        assert_eq!(least.endpoint("running"), Ok("running".to_owned()));
        assert_eq!(least.boot(&step), Ok(()));
        assert_eq!(
            least.instances().unwrap(),
            [Instance::new("default", State::Running)]
        );
        assert_eq!((least.placement(), least.abilities(&[])), (vec![], vec![]));
        assert_eq!(
            (least.stop(&step), least.remove(&step, &host.removal())),
            (Ok(()), Ok(()))
        );
    }

    #[test]
    fn a_daemon_that_cannot_be_started_is_not_there() {
        let host = Host::new();
        let least = Least::open(host.config()).unwrap();
        let error = least.boot(&host.step("x")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.details(), [("status".to_owned(), "as it is".to_owned())]);
        assert_eq!(least.instances(), Ok(vec![]));
    }

    #[test]
    fn abilities_that_a_driver_does_not_write_are_unsupported() {
        let host = Host::new();
        let least = Least::open(host.config()).unwrap();
        let step = host.step("x");
        let kinds = [
            least.explain(&host.loss("default")).err(),
            least.open_log("default", &host.log_request()).err(),
            least.wanted_size().err(),
            least.resize(1, &step).err(),
            least.drain("default", &step).err(),
            least.upgrade(&step).err(),
        ];
        assert!(
            kinds
                .iter()
                .flatten()
                .all(|error| error.kind() == ErrorKind::Unsupported)
        );
        assert_eq!(kinds.iter().flatten().count(), 6);
    }
}
