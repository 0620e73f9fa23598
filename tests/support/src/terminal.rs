//! A program on a terminal, with a person who types.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{ControlModes, InputModes, LocalModes, OutputModes, Winsize, tcgetattr, tcsetwinsize};

use crate::call::Ended;

const POLL: Duration = Duration::from_millis(5);

/// What Ctrl-C sends.
pub const INTERRUPT: &[u8] = b"\x03";

/// A program that runs on a terminal of its own. It is killed when it is dropped.
pub struct Terminal {
    child: Child,
    words: String,
    limit: Duration,
    start: Instant,
    keyboard: File,
    line: OwnedFd,
    screen: Arc<Mutex<Vec<u8>>>,
    modes: Modes,
}

impl Terminal {
    pub(crate) fn start(command: &Command, words: String, limit: Duration, rows: u16, columns: u16) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let line = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&line, size).unwrap();
        let modes = modes(&line);
        let child = on(&line, command);
        let keyboard = File::from(controller);
        let screen = Arc::new(Mutex::new(Vec::new()));
        record(keyboard.try_clone().unwrap(), screen.clone());
        Self {
            child,
            words,
            limit,
            start: Instant::now(),
            keyboard,
            line,
            screen,
            modes,
        }
    }

    /// Types something.
    ///
    /// # Panics
    ///
    /// When the terminal is gone.
    pub fn types(&mut self, bytes: &[u8]) {
        self.keyboard.write_all(bytes).unwrap();
    }

    /// Everything that was written so far, control sequences included.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// Waits until `text` was written.
    ///
    /// # Panics
    ///
    /// When the program ends first or takes too long.
    pub fn until_shown(&mut self, text: &str) {
        while !self.screen().contains(text) {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && self.start.elapsed() < self.limit,
                "`{}` did not show {text:?} ({ended:?}):\n{}",
                self.words,
                self.screen()
            );
            std::thread::sleep(POLL);
        }
    }

    /// Waits for the program's end; all that was shown is in its standard error.
    ///
    /// # Panics
    ///
    /// When it takes longer than the limit.
    pub fn wait(&mut self) -> Ended {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.start.elapsed() > self.limit {
                let _ = self.child.kill();
                panic!("`{}` still ran:\n{}", self.words, self.screen());
            }
            std::thread::sleep(POLL);
        };
        let took = self.start.elapsed();
        // The last bytes may still be on their way to the thread that records them.
        std::thread::sleep(Duration::from_millis(50));
        Ended {
            words: self.words.clone(),
            status,
            stdout: Vec::new(),
            stderr: self.screen(),
            took,
        }
    }

    /// Whether the cursor is hidden at this moment.
    pub fn hides_its_cursor(&self) -> bool {
        let screen = self.screen();
        screen.rfind("\x1b[?25l") > screen.rfind("\x1b[?25h")
    }

    /// Expects a terminal that can be worked with: a visible cursor at the begin of a line, default colours, the usual
    /// screen, and all modes (echo, lines, signals) as they were.
    ///
    /// # Panics
    ///
    /// When it was left in another state.
    pub fn is_sane(&self) {
        let screen = self.screen();
        assert!(!self.hides_its_cursor(), "the cursor stayed hidden: {screen:?}");
        assert!(!is_coloured(&screen), "a colour stayed: {screen:?}");
        assert!(
            screen.rfind("\x1b[?1049h") <= screen.rfind("\x1b[?1049l"),
            "another screen stayed: {screen:?}"
        );
        assert!(
            screen.ends_with('\n'),
            "the cursor is not at a line's begin: {screen:?}"
        );
        let now = modes(&self.line);
        assert_eq!(now, self.modes, "the terminal's modes were changed");
    }
}

/// Everything that `stty` shows of a terminal and a program may change.
type Modes = (InputModes, OutputModes, ControlModes, LocalModes);

fn modes(line: &OwnedFd) -> Modes {
    let all = tcgetattr(line).unwrap();
    (
        all.input_modes,
        all.output_modes,
        all.control_modes,
        all.local_modes,
    )
}

/// Whether the last of the sequences `ESC [ … m` sets something.
fn is_coloured(screen: &str) -> bool {
    let sequences = screen.split("\x1b[").skip(1);
    let last = sequences.filter_map(|rest| {
        let (parameters, _) = rest.split_once(|c: char| c.is_ascii_alphabetic())?;
        rest[parameters.len()..].starts_with('m').then_some(parameters)
    });
    last.last()
        .is_some_and(|parameters| !matches!(parameters, "" | "0"))
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the command in a session whose terminal this is, so that typed control characters become signals.
fn on(line: &OwnedFd, command: &Command) -> Child {
    let end = || Stdio::from(line.try_clone().unwrap());
    let mut wrapped = Command::new("setsid");
    wrapped
        .arg("--ctty")
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .env("TERM", "xterm-256color");
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            wrapped.env(name, value);
        }
    }
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped.stdin(end()).stdout(end()).stderr(end());
    wrapped.spawn().unwrap()
}

fn record(mut from: File, screen: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            screen.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
    });
}
