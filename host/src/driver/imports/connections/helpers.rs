//! Connections through helper programs, by kind.

use super::super::types::Answer;
use super::Connection;
use super::failures::helper_failure;
use crate::connect::helper_program::{HelperCommand, HelperError};
use crate::connect::pipe::Pipe;
use crate::driver::environment::HostEnvironment;
use crate::driver::grants::endpoint::Helper;
use crate::keeper::exec::own_program;
use crate::keeper::programs;

/// Starts the helper; it may fail to connect only later, which shows as a failed read.
pub(crate) async fn start(helper: &Helper, environment: &HostEnvironment) -> Answer<Connection> {
    connect(helper, environment).map_err(|error| helper_failure(&error))
}

fn connect(helper: &Helper, environment: &HostEnvironment) -> Result<Connection, HelperError> {
    let command = command(helper)?;
    let program = command.program();
    let path = programs::on_path(program, Some(&environment.path)).ok_or(HelperError::Missing { program })?;
    let running = command.start(&path, own_program(&environment.executable))?;
    let last_words = running.last_words();
    Ok(Connection::new(Pipe::new(running), peer(helper)).with_last_words(last_words))
}

fn command(helper: &Helper) -> Result<HelperCommand, HelperError> {
    match helper {
        Helper::Ssh {
            host,
            user,
            port,
            socket,
        } => HelperCommand::ssh(host, user.as_deref(), *port, socket.as_deref()),
        Helper::DockerExec { container, context } => {
            HelperCommand::docker_exec(container, context.as_deref())
        }
        Helper::PodmanExec { container } => HelperCommand::podman_exec(container),
        Helper::NerdctlExec { container, namespace } => {
            HelperCommand::nerdctl_exec(container, namespace.as_deref())
        }
        Helper::KubectlExec {
            pod,
            container,
            namespace,
            context,
        } => HelperCommand::kubectl_exec(
            pod,
            container.as_deref(),
            namespace.as_deref(),
            context.as_deref(),
        ),
    }
}

/// What the helper leads to, for messages.
fn peer(helper: &Helper) -> String {
    match helper {
        Helper::Ssh { host, .. } => format!("ssh://{host}"),
        Helper::DockerExec { container, .. } => format!("docker-container://{container}"),
        Helper::PodmanExec { container } => format!("podman-container://{container}"),
        Helper::NerdctlExec { container, .. } => format!("nerdctl-container://{container}"),
        Helper::KubectlExec { pod, .. } => format!("kube-pod://{pod}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::failures::told;
    use super::*;
    use crate::driver::bindings::types::ErrorKind;

    #[tokio::test]
    async fn a_missing_program_says_what_to_install() {
        let helper = Helper::PodmanExec {
            container: "c".to_owned(),
        };
        let environment = HostEnvironment::default();
        let error = told(start(&helper, &environment).await);
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(error.hint.unwrap().starts_with("Install `podman`"));
    }
}
