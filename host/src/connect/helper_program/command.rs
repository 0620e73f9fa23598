//! The argument lists of helper programs. Every value is checked, and stands where it cannot be taken for an option.

use super::HelperError;

/// What runs on the other side.
const DIAL: [&str; 2] = ["buildctl", "dial-stdio"];

/// A helper program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperCommand {
    pub(super) program: &'static str,
    pub(super) args: Vec<String>,
}

impl HelperCommand {
    /// `ssh` to `buildctl dial-stdio`; `socket` is the daemon's on that host.
    pub fn ssh(
        host: &str,
        user: Option<&str>,
        port: Option<u16>,
        socket: Option<&str>,
    ) -> Result<Self, HelperError> {
        let mut args = Vec::new();
        if let Some(user) = user {
            args.extend(["-l".to_owned(), word("user of ssh", user)?]);
        }
        if let Some(port) = port {
            args.extend(["-p".to_owned(), port.to_string()]);
        }
        args.extend(["--".to_owned(), word("host of ssh", host)?, "buildctl".to_owned()]);
        if let Some(socket) = socket {
            // A shell on the other side reads this.
            args.extend(["--addr".to_owned(), quoted(&format!("unix://{}", path(socket)?))]);
        }
        args.push("dial-stdio".to_owned());
        Ok(Self { program: "ssh", args })
    }

    /// `ssh` to the Docker Engine behind `docker system dial-stdio`; `socket` is the engine's on that host.
    pub fn docker_ssh(
        host: &str,
        user: Option<&str>,
        port: Option<u16>,
        socket: Option<&str>,
    ) -> Result<Self, HelperError> {
        let mut args = Vec::new();
        if let Some(user) = user {
            args.extend(["-l".to_owned(), word("user of ssh", user)?]);
        }
        if let Some(port) = port {
            args.extend(["-p".to_owned(), port.to_string()]);
        }
        args.extend(["-o ConnectTimeout=30", "-T", "--"].map(str::to_owned));
        args.push(word("host of ssh", host)?);
        // One word, because a shell on the other side reads it.
        let host = match socket {
            Some(socket) => format!("--host={} ", quoted(&format!("unix://{}", path(socket)?))),
            None => String::new(),
        };
        args.push(format!("docker {host}system dial-stdio"));
        Ok(Self { program: "ssh", args })
    }

    /// `docker exec` into a container.
    pub fn docker_exec(container: &str, context: Option<&str>) -> Result<Self, HelperError> {
        let mut args = Vec::new();
        if let Some(context) = context {
            args.push(format!("--context={}", name("docker context", context)?));
        }
        Self::exec("docker", args, container, &[])
    }

    /// `podman exec` into a container.
    pub fn podman_exec(container: &str) -> Result<Self, HelperError> {
        Self::exec("podman", Vec::new(), container, &[])
    }

    /// `nerdctl exec` into a container; `namespace` is containerd's.
    pub fn nerdctl_exec(container: &str, namespace: Option<&str>) -> Result<Self, HelperError> {
        let namespace = match namespace {
            Some(namespace) => vec![
                "--namespace".to_owned(),
                name("namespace of containerd", namespace)?,
            ],
            None => Vec::new(),
        };
        Self::exec("nerdctl", Vec::new(), container, &namespace)
    }

    fn exec(
        program: &'static str,
        mut args: Vec<String>,
        container: &str,
        options: &[String],
    ) -> Result<Self, HelperError> {
        args.push("exec".to_owned());
        args.extend_from_slice(options);
        args.extend(["-i".to_owned(), name("container", container)?]);
        args.extend(DIAL.map(str::to_owned));
        Ok(Self { program, args })
    }

    /// `kubectl exec` into a pod. Absent values are given as empty ones.
    pub fn kubectl_exec(
        pod: &str,
        container: Option<&str>,
        namespace: Option<&str>,
        context: Option<&str>,
    ) -> Result<Self, HelperError> {
        let context = context.unwrap_or_default();
        if context.contains(char::is_control) {
            return Err(invalid("context of kubectl", context));
        }
        let object =
            |what, value: Option<&str>| value.map_or(Ok(String::new()), |value| kube_name(what, value));
        let mut args = vec![
            format!("--context={context}"),
            format!("--namespace={}", object("namespace", namespace)?),
            "exec".to_owned(),
            format!("--container={}", object("container", container)?),
            "-i".to_owned(),
            kube_name("pod", pod)?,
            "--".to_owned(),
        ];
        args.extend(DIAL.map(str::to_owned));
        Ok(Self {
            program: "kubectl",
            args,
        })
    }

    /// The program's name.
    pub fn program(&self) -> &'static str {
        self.program
    }

    /// Its arguments.
    pub fn args(&self) -> &[String] {
        &self.args
    }
}

fn invalid(what: &'static str, value: &str) -> HelperError {
    HelperError::Invalid {
        what,
        value: value.to_owned(),
    }
}

/// A word that no program takes for an option.
fn word(what: &'static str, value: &str) -> Result<String, HelperError> {
    let unfit = |c: char| c.is_control() || c.is_whitespace();
    if value.is_empty() || value.starts_with('-') || value.contains(unfit) {
        return Err(invalid(what, value));
    }
    Ok(value.to_owned())
}

/// A name as container engines have them.
fn name(what: &'static str, value: &str) -> Result<String, HelperError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '+');
    if !value.starts_with(|c: char| c.is_ascii_alphanumeric()) || !value.chars().all(fits) {
        return Err(invalid(what, value));
    }
    Ok(value.to_owned())
}

/// A name as Kubernetes has them.
fn kube_name(what: &'static str, value: &str) -> Result<String, HelperError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if value.is_empty() || value.starts_with('-') || !value.chars().all(fits) {
        return Err(invalid(what, value));
    }
    Ok(value.to_owned())
}

fn path(value: &str) -> Result<&str, HelperError> {
    if !value.starts_with('/') || value.contains(char::is_control) {
        return Err(invalid("socket path", value));
    }
    Ok(value)
}

/// As one word of a shell; unchanged when nothing in it means anything to one.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | ':' | '.' | '_' | '-' | '+' | '@');
    if text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}
