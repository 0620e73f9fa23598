//! The smallest driver that does something of its own: its daemon stands behind a doorkeeper that wants to be greeted.
//!
//! On each connection the driver sends `HELLO builder/node` and reads one line: `OK`, or `NO` with a reason. What follows
//! that line belongs to BuildKit's own protocol, so what was read of it goes back before the connection is handed over.
#![forbid(unsafe_code)]

use std::time::Duration;

use bkhost_driver::{
    Config, Connection, DialRequest, Driver, DriverInfo, Endpoint, Error, ErrorKind, Options, Result, State,
    Status,
};

bkhost_driver::export!(Minimal);

/// Longest answer of the doorkeeper.
const LONGEST_ANSWER: usize = 1024;
/// How long greeting may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// An opened node.
struct Minimal {
    path: String,
    greeting: String,
}

impl Driver for Minimal {
    fn describe() -> DriverInfo {
        DriverInfo::new(
            "Connects to a daemon behind a doorkeeper",
            Endpoint::required(["unix"]),
        )
    }

    fn open(config: Config) -> Result<Self> {
        Options::new(&config).finish(|name| format!("invalid driver option {name} for minimal driver"))?;
        let endpoint = config.endpoint();
        let path = endpoint
            .strip_prefix("unix://")
            .filter(|path| path.starts_with('/'));
        let wrong = || Error::invalid_config(format!("Endpoint `{endpoint}` is no unix socket"));
        Ok(Self {
            path: path.ok_or_else(wrong)?.to_owned(),
            greeting: format!("HELLO {}/{}\n", config.builder(), config.node()),
        })
    }

    fn status(&self) -> Result<Status> {
        match self.connect(TIMEOUT) {
            Ok(_) => Ok(Status::new(State::Running)),
            Err(error) if matches!(error.kind(), ErrorKind::Refused | ErrorKind::NotFound) => {
                Ok(Status::new(State::Inactive).with_detail(error.message()))
            }
            Err(error) => Err(error),
        }
    }

    fn dial(&self, _instance: &str, request: &DialRequest) -> Result<Connection> {
        self.connect(request.step.time_left_or(TIMEOUT))
    }
}

impl Minimal {
    fn connect(&self, timeout: Duration) -> Result<Connection> {
        let mut connection = Connection::open_unix(&self.path, timeout)?;
        connection.set_timeout(timeout);
        connection.send(self.greeting.as_bytes())?;
        let answer = read_line(&mut connection)?;
        match answer.strip_prefix("NO ") {
            None if answer == "OK" => Ok(connection),
            None => Err(Error::new(
                ErrorKind::Protocol,
                format!("The doorkeeper said {answer:?}"),
            )),
            Some(reason) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("The doorkeeper refused: {reason}"),
            )),
        }
    }
}

/// Reads up to the end of a line and gives back what was read behind it.
fn read_line(connection: &mut Connection) -> Result<String> {
    let mut line = Vec::new();
    loop {
        let data = connection.receive(LONGEST_ANSWER)?;
        if data.is_empty() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "The doorkeeper closed the connection",
            ));
        }
        line.extend(data);
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            let rest = line.split_off(end);
            connection.unread(rest.get(1..).unwrap_or_default())?;
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
        if line.len() >= LONGEST_ANSWER {
            return Err(Error::new(
                ErrorKind::Protocol,
                "The doorkeeper does not come to an end",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use bkhost_driver::testing::{Host, Listener, Script};

    use super::*;

    fn dial(script: Script) -> (Host, Result<Connection>) {
        let host = Host::new().endpoint("unix:///b.sock");
        host.unix("/b.sock", Listener::new().accept(script));
        let connection = Minimal::open(host.config())
            .unwrap()
            .dial("default", &host.dial_request());
        (host, connection)
    }

    #[test]
    fn it_greets_and_gives_back_what_follows_the_answer() {
        let (host, connection) = dial(
            Script::new()
                .expect("HELLO builder/node0\n")
                .say("O")
                .say("K\nPRI"),
        );
        let record = host.connection(&connection.unwrap());
        assert_eq!(record.written, b"HELLO builder/node0\n");
        assert_eq!(record.pending, b"PRI");
    }

    #[test]
    fn every_other_answer_is_an_error_of_its_own() {
        let cases = [
            (
                Script::new().say("NO later\n"),
                ErrorKind::Unavailable,
                "The doorkeeper refused: later",
            ),
            (
                Script::new().say("HUH\n"),
                ErrorKind::Protocol,
                "The doorkeeper said \"HUH\"",
            ),
            (
                Script::new().close(),
                ErrorKind::Unavailable,
                "The doorkeeper closed the connection",
            ),
            (
                Script::new().say([b'x'; 2000]),
                ErrorKind::Protocol,
                "The doorkeeper does not come to an end",
            ),
        ];
        for (script, kind, words) in cases {
            let error = dial(script).1.unwrap_err();
            assert_eq!((error.kind(), error.message()), (kind, words));
        }
    }

    #[test]
    fn only_unix_sockets_are_endpoints() {
        for endpoint in ["", "tcp://h:1", "unix://relative"] {
            let host = Host::new().endpoint(endpoint);
            let error = Minimal::open(host.config()).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        }
    }
}
