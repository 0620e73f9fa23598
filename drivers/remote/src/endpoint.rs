//! The grammar of endpoints.

use bkhost_driver::{Error, Result, Ssh};

use crate::target::{Kind, Target};

/// Schemes that the driver takes.
pub const SCHEMES: [&str; 8] = [
    "docker-container",
    "kube-pod",
    "nerdctl-container",
    "npipe",
    "podman-container",
    "ssh",
    "tcp",
    "unix",
];

/// Reads an endpoint.
pub fn parse(endpoint: &str) -> Result<Target> {
    if endpoint.is_empty() {
        let hint = "Give one, such as `tcp://HOST:1234`, or set BUILDKIT_HOST";
        return Err(Error::invalid_config("no remote endpoint provided").with_hint(hint));
    }
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
    let wrong = |why: String| {
        let error = Error::invalid_config(format!("failed to parse endpoint {endpoint}: {why}"));
        error.with_hint(format!("Such an endpoint is written `{}`", form(scheme)))
    };
    let kind = match scheme {
        "unix" => path(rest).map(Kind::Unix),
        "npipe" => path(rest).map(Kind::NamedPipe),
        "tcp" => tcp(rest),
        "ssh" => ssh(rest),
        "docker-container" => {
            container(rest, "context").map(|(container, context)| Kind::Docker { container, context })
        }
        "podman-container" => container(rest, "").map(|(container, _)| Kind::Podman { container }),
        "nerdctl-container" => {
            container(rest, "namespace").map(|(container, namespace)| Kind::Nerdctl { container, namespace })
        }
        "kube-pod" => pod(rest),
        "" => return Err(no_scheme(endpoint)),
        _ => return Err(unknown_scheme(scheme)),
    };
    Ok(Target::new(
        endpoint,
        authority(scheme, rest),
        kind.map_err(wrong)?,
    ))
}

/// How endpoints of a scheme are written.
fn form(scheme: &str) -> &'static str {
    match scheme {
        "unix" => "unix:///PATH/OF/SOCKET",
        "npipe" => "npipe:////./pipe/NAME",
        "tcp" => "tcp://HOST:PORT`, such as `tcp://build.example.com:1234",
        "ssh" => "ssh://[USER@]HOST[:PORT][/PATH/OF/SOCKET]",
        "docker-container" => "docker-container://NAME[?context=CONTEXT]",
        "podman-container" => "podman-container://NAME",
        "nerdctl-container" => "nerdctl-container://NAME[?namespace=NAMESPACE]",
        _ => "kube-pod://POD[?context=CONTEXT][&namespace=NAMESPACE][&container=CONTAINER]",
    }
}

fn no_scheme(endpoint: &str) -> Error {
    let scheme = match endpoint.starts_with('/') {
        true => "unix",
        false => "tcp",
    };
    Error::invalid_config("unrecognized url scheme ")
        .with_hint(format!("Did you mean `{scheme}://{endpoint}`?"))
}

fn unknown_scheme(scheme: &str) -> Error {
    let hint = match bkhost_driver::nearest(scheme, SCHEMES) {
        Some(near) => format!("Did you mean `{near}://`?"),
        None => format!("Known schemes: `{}://`", SCHEMES.join("://`, `")),
    };
    Error::invalid_config(format!("unrecognized url scheme {scheme}")).with_hint(hint)
}

type Parsed<T> = std::result::Result<T, String>;

/// Everything up to the path, without a user: what a URL calls its host. Sockets have none.
fn authority(scheme: &str, rest: &str) -> Option<String> {
    if matches!(scheme, "unix" | "npipe") {
        return None;
    }
    let host = Url::split(rest).host;
    (!host.is_empty()).then(|| host.to_owned())
}

/// The parts of a URL behind its scheme.
struct Url<'a> {
    user: Option<&'a str>,
    host: &'a str,
    path: &'a str,
    query: Query<'a>,
    fragment: Option<&'a str>,
}

impl<'a> Url<'a> {
    fn split(rest: &'a str) -> Self {
        let (rest, fragment) = cut(rest, '#');
        let (rest, query) = cut(rest, '?');
        let (front, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = match front.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, front),
        };
        Self {
            user,
            host,
            path,
            query: Query(query),
            fragment,
        }
    }
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((front, back)) => (front, Some(back)),
        None => (text, None),
    }
}

/// `key=value&…`, as it was written.
struct Query<'a>(Option<&'a str>);

impl Query<'_> {
    /// The first value of a key; an empty one counts as not given.
    fn get(&self, key: &str) -> Option<String> {
        let mut pairs = self.0?.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|(name, _)| *name == key)?.1;
        (!value.is_empty()).then(|| value.to_owned())
    }
}

fn path(rest: &str) -> Parsed<String> {
    match rest.is_empty() {
        true => Err("it has no path".to_owned()),
        false => Ok(rest.to_owned()),
    }
}

fn tcp(rest: &str) -> Parsed<Kind> {
    let url = Url::split(rest);
    if url.user.is_some() || url.query.0.is_some() || url.fragment.is_some() || !matches!(url.path, "" | "/")
    {
        return Err("a tcp endpoint is a host and a port".to_owned());
    }
    let (host, port) = host_and_port(url.host)?;
    let port = port.ok_or("missing port in address")?;
    if host.is_empty() {
        return Err("no host specified".to_owned());
    }
    Ok(Kind::Tcp { host, port })
}

/// Splits `host`, `host:port`, `[address]` and `[address]:port`; brackets go.
fn host_and_port(text: &str) -> Parsed<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']').ok_or("missing ']' in address")?;
            let port = after.strip_prefix(':');
            if port.is_none() && !after.is_empty() {
                return Err(format!("unexpected {after:?} behind an address"));
            }
            (host, port)
        }
        None if text.matches(':').count() > 1 => return Err("too many colons in address".to_owned()),
        None => cut(text, ':'),
    };
    let number = |port: &str| port.parse::<u16>().ok().filter(|number| *number > 0);
    let port = port
        .map(|port| number(port).ok_or(format!("invalid port {port:?}")))
        .transpose()?;
    Ok((host.to_owned(), port))
}

fn ssh(rest: &str) -> Parsed<Kind> {
    let url = Url::split(rest);
    if url.user.is_some_and(|user| user.contains(':')) {
        return Err("plain-text password is not supported".to_owned());
    }
    let (host, port) = host_and_port(url.host)?;
    if host.is_empty() {
        return Err("no host specified".to_owned());
    }
    if let Some(query) = url.query.0 {
        return Err(format!("extra query after the host: {query:?}"));
    }
    if let Some(fragment) = url.fragment {
        return Err(format!("extra fragment after the host: {fragment:?}"));
    }
    Ok(Kind::Ssh(Ssh {
        host,
        user: url.user.filter(|user| !user.is_empty()).map(str::to_owned),
        port,
        socket: (!matches!(url.path, "" | "/")).then(|| url.path.to_owned()),
    }))
}

/// A container's name or id, and where it is looked for: the value of the key `place`.
fn container(rest: &str, place: &str) -> Parsed<(String, Option<String>)> {
    let (name, _) = cut(rest, '#');
    let (name, query) = cut(name, '?');
    let name = name.strip_suffix('/').unwrap_or(name);
    if name.is_empty() {
        return Err("url lacks container name".to_owned());
    }
    let value = Query(query).get(place);
    for (what, text) in [("container", Some(name)), (place, value.as_deref())] {
        if let Some(text) = text.filter(|text| !is_container_name(text)) {
            return Err(format!("unsupported {what} name: {text:?}"));
        }
    }
    Ok((name.to_owned(), value))
}

/// What container engines take as name of a container, a context or a namespace.
fn is_container_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '+');
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(fits)
}

fn pod(rest: &str) -> Parsed<Kind> {
    let url = Url::split(rest);
    if url.host.is_empty() {
        return Err("url lacks pod name".to_owned());
    }
    let (container, namespace) = (url.query.get("container"), url.query.get("namespace"));
    for (what, name) in [
        ("pod", Some(url.host)),
        ("container", container.as_deref()),
        ("namespace", namespace.as_deref()),
    ] {
        if let Some(name) = name.filter(|name| !is_object_name(name)) {
            return Err(format!("unsupported {what} name: {name:?}"));
        }
    }
    Ok(Kind::Pod {
        pod: url.host.to_owned(),
        container,
        namespace,
        context: url.query.get("context"),
    })
}

fn is_object_name(name: &str) -> bool {
    name.chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(endpoint: &str) -> Kind {
        parse(endpoint).unwrap().kind().clone()
    }

    fn words(endpoint: &str) -> String {
        parse(endpoint).unwrap_err().message().to_owned()
    }

    fn hint(endpoint: &str) -> String {
        parse(endpoint).unwrap_err().hint().unwrap().to_owned()
    }

    #[test]
    fn every_scheme_says_how_it_is_written() {
        for scheme in SCHEMES {
            let hint = hint(&format!("{scheme}://"));
            assert!(
                hint.starts_with(&format!("Such an endpoint is written `{scheme}://")),
                "{hint}"
            );
        }
        assert!(hint("tcp://h").contains("such as `tcp://build.example.com:1234`"));
    }

    #[test]
    fn sockets_are_taken_as_they_are_written() {
        assert_eq!(
            kind("unix:///run/a b?c#d.sock"),
            Kind::Unix("/run/a b?c#d.sock".into())
        );
        assert_eq!(kind("npipe:////./pipe/x"), Kind::NamedPipe("//./pipe/x".into()));
        assert_eq!(
            words("unix://"),
            "failed to parse endpoint unix://: it has no path"
        );
    }

    #[test]
    fn tcp_has_host_and_port() {
        let tcp = |host: &str, port| Kind::Tcp {
            host: host.into(),
            port,
        };
        assert_eq!(kind("tcp://localhost:1234"), tcp("localhost", 1234));
        assert_eq!(kind("tcp://[::1]:1234/"), tcp("::1", 1234));
        assert_eq!(kind("tcp://[fe80::1%eth0]:1"), tcp("fe80::1%eth0", 1));
        let wrong = [
            ("tcp://h", "missing port in address"),
            ("tcp://::1:1234", "too many colons in address"),
            ("tcp://[::1", "missing ']' in address"),
            ("tcp://[::1]x", "unexpected \"x\" behind an address"),
            ("tcp://h:0", "invalid port \"0\""),
            ("tcp://h:99999", "invalid port \"99999\""),
            ("tcp://:1", "no host specified"),
            ("tcp://h:1/x", "a tcp endpoint is a host and a port"),
        ];
        for (endpoint, why) in wrong {
            assert_eq!(
                words(endpoint),
                format!("failed to parse endpoint {endpoint}: {why}")
            );
        }
    }

    #[test]
    fn ssh_has_user_port_and_socket() {
        let all = Ssh {
            host: "h".into(),
            user: Some("u".into()),
            port: Some(22),
            socket: Some("/run/b.sock".into()),
        };
        assert_eq!(kind("ssh://u@h:22/run/b.sock"), Kind::Ssh(all));
        let least = Ssh {
            host: "h".into(),
            ..Ssh::default()
        };
        assert_eq!(kind("ssh://h"), Kind::Ssh(least));
        for (endpoint, why) in [
            ("ssh://u:p@h", "plain-text password is not supported"),
            ("ssh://", "no host specified"),
            ("ssh://h?x=1", "extra query after the host: \"x=1\""),
            ("ssh://h#f", "extra fragment after the host: \"f\""),
        ] {
            assert_eq!(
                words(endpoint),
                format!("failed to parse endpoint {endpoint}: {why}")
            );
        }
    }

    #[test]
    fn containers_and_pods_have_names() {
        let docker = Kind::Docker {
            container: "b".into(),
            context: Some("c".into()),
        };
        assert_eq!(kind("docker-container://b?context=c"), docker);
        assert_eq!(
            kind("podman-container://b"),
            Kind::Podman {
                container: "b".into()
            }
        );
        let nerdctl = Kind::Nerdctl {
            container: "b".into(),
            namespace: Some("n".into()),
        };
        assert_eq!(kind("nerdctl-container://b?namespace=n"), nerdctl);
        let pod = Kind::Pod {
            pod: "p-1".into(),
            container: Some("k".into()),
            namespace: Some("n".into()),
            context: None,
        };
        assert_eq!(kind("kube-pod://p-1?namespace=n&container=k&context="), pod);
        assert!(words("docker-container://").ends_with(": url lacks container name"));
        assert!(words("docker-container://?context=c").ends_with(": url lacks container name"));
        assert!(words("kube-pod://?namespace=n").ends_with(": url lacks pod name"));
        assert!(words("kube-pod://P").ends_with(": unsupported pod name: \"P\""));
        assert!(words("kube-pod://p?container=a_b").ends_with(": unsupported container name: \"a_b\""));
        assert!(words("kube-pod://p?namespace=-%").ends_with(": unsupported namespace name: \"-%\""));
    }

    #[test]
    fn what_no_container_can_be_called_is_refused() {
        for name in [
            "-x",
            "--privileged",
            "a b",
            "a%20b",
            "a;b",
            "a/b",
            "u@a",
            "é",
            "$(id)",
            "a\n",
        ] {
            for scheme in ["docker", "podman", "nerdctl"] {
                let endpoint = format!("{scheme}-container://{name}");
                assert!(
                    words(&endpoint).ends_with(&format!(": unsupported container name: {name:?}")),
                    "{endpoint}"
                );
                let form = format!("Such an endpoint is written `{scheme}-container://NAME");
                assert!(hint(&endpoint).starts_with(&form));
            }
        }
        assert!(words("docker-container://a?context=-c").ends_with(": unsupported context name: \"-c\""));
        assert!(words("nerdctl-container://a?namespace=../x").contains("unsupported namespace name"));
        let docker = Kind::Docker {
            container: "A_1.b-c".into(),
            context: None,
        };
        assert_eq!(kind("docker-container://A_1.b-c/?context="), docker);
    }

    #[test]
    fn other_schemes_are_refused() {
        assert_eq!(words(""), "no remote endpoint provided");
        assert_eq!(words("localhost:1234"), "unrecognized url scheme ");
        assert_eq!(hint("localhost:1234"), "Did you mean `tcp://localhost:1234`?");
        assert_eq!(hint("/run/b.sock"), "Did you mean `unix:///run/b.sock`?");
        assert!(hint("docker-image://x").ends_with("`ssh://`, `tcp://`, `unix://`"));
        let error = parse("tpc://h:1").unwrap_err();
        assert_eq!(error.message(), "unrecognized url scheme tpc");
        assert_eq!(hint("unx:///x"), "Did you mean `unix://`?");
    }

    #[test]
    fn the_authority_is_the_host_of_the_url() {
        let authority = |endpoint: &str| parse(endpoint).unwrap().authority().map(str::to_owned);
        assert_eq!(authority("tcp://[::1]:1234"), Some("[::1]:1234".into()));
        assert_eq!(authority("ssh://u@h:22/x"), Some("h:22".into()));
        assert_eq!(authority("docker-container://b?context=c"), Some("b".into()));
        assert_eq!(authority("unix:///x"), None);
    }
}
