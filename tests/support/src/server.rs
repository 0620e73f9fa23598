//! Starts servers so that they end with the test binary, however that ends.

use std::ffi::OsString;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::processes::{descendants, send};
use crate::provided;

/// Longest wait for a server to listen. Two cores shared with other tests need it.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for a server to end by itself.
const STOP_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// A child process that is asked to end, and then made to, on drop.
pub struct Server {
    child: Child,
    log: std::path::PathBuf,
}

impl Server {
    /// Starts `program` with both outputs in the file `log`.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(command: Command, log: &Path) -> Self {
        let file = File::create(log).unwrap();
        let mut command = ending_with_us(&command);
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        Self {
            child: spawn(command),
            log: log.to_owned(),
        }
    }

    /// Waits until `is_up` says so.
    ///
    /// # Panics
    ///
    /// When the server ends first or takes too long, with its log.
    pub fn wait_until(&mut self, is_up: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_up() {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && start.elapsed() < START_LIMIT,
                "the server did not start ({ended:?}):\n{}",
                self.log()
            );
            std::thread::sleep(POLL);
        }
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Kills it without a warning, as a machine that goes away would: what it started, which outlives it otherwise,
    /// ends with it.
    pub fn kill(&mut self) {
        let children = descendants(self.child.id());
        let _ = self.child.kill();
        let _ = self.child.wait();
        for child in children {
            send(child, Signal::KILL);
        }
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    fn stop(&mut self) {
        self.signal(Signal::TERM);
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() > STOP_LIMIT {
                return self.kill();
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        if std::thread::panicking() {
            eprintln!("log of process {}:\n{}", self.pid(), self.log());
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            self.stop();
        }
    }
}

/// A loopback port that nobody uses at this moment.
///
/// # Panics
///
/// When there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Whether something listens on the loopback port.
pub fn listens(port: u16) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// `PATH` for servers and clients: the pinned programs first, then the system's, and nothing that a user installed.
///
/// # Panics
///
/// When the pinned programs are missing.
pub fn path() -> OsString {
    let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(std::path::PathBuf::from);
    std::env::join_paths([provided::engines()].into_iter().chain(system)).unwrap()
}

/// The same with a folder in front.
///
/// # Panics
///
/// When its name cannot be on a `PATH`.
pub fn path_from(folder: impl Into<std::path::PathBuf>) -> OsString {
    let others = path();
    let folders = [folder.into()].into_iter().chain(std::env::split_paths(&others));
    std::env::join_paths(folders).unwrap()
}

/// The same command, killed by the kernel when the thread that starts it is gone.
fn ending_with_us(command: &Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    wrapped
        .args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
}

type Order = (Command, Sender<std::io::Result<Child>>);

/// Starts the command from a thread that lives as long as the process: a test's own thread ends with the test, and the
/// kernel sends the signal then.
fn spawn(command: Command) -> Child {
    static ORDERS: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (sender, orders) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in orders {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (sender, reply) = channel();
    let what = format!("{command:?}");
    orders.lock().unwrap().send((command, sender)).unwrap();
    reply
        .recv()
        .unwrap()
        .unwrap_or_else(|error| panic!("cannot start {what}: {error}"))
}
