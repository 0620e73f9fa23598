//! A socket in front of an engine's, at which an answer can be held: a client that waits for it can be killed at that very
//! point.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bkhost_test_support::docker::DockerEngine;

use crate::harness::eventually;

/// Whether the request with this first line is the one whose answer is held.
type Trap = Box<dyn Fn(&str) -> bool + Send>;

#[derive(Default)]
struct State {
    trap: Option<Trap>,
    /// The engine has answered it.
    sprung: bool,
    /// What the client sends is let through slowly.
    is_slow: bool,
    /// First lines of all requests.
    seen: Vec<String>,
}

/// It forwards everything until its end, which is that of the test.
pub struct Gate {
    socket: PathBuf,
    state: Arc<Mutex<State>>,
}

impl Gate {
    /// Opens the socket `socket` in front of that of `engine`.
    pub fn open(engine: &DockerEngine, socket: PathBuf) -> Self {
        let listener = UnixListener::bind(&socket).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (target, shared) = (engine.socket(), Arc::clone(&state));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (target, state) = (target.clone(), Arc::clone(&shared));
                std::thread::spawn(move || forward(client, &target, &state));
            }
        });
        Self { socket, state }
    }

    pub fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Holds the answer to the next request whose first line is such: the engine has done it, and nobody hears of that.
    pub fn hold(&self, is_it: impl Fn(&str) -> bool + Send + 'static) {
        let mut state = self.state.lock().unwrap();
        state.trap = Some(Box::new(is_it));
        state.sprung = false;
    }

    /// From now on 150 MB take more than ten seconds to the engine: there is time for something to happen on the way.
    pub fn slow_down(&self) {
        self.state.lock().unwrap().is_slow = true;
    }

    /// Waits until there is that answer.
    pub fn until_held(&self) {
        let sprung = || self.state.lock().unwrap().sprung;
        eventually("an answer is held", Duration::from_secs(30), sprung);
    }

    /// First lines of all requests so far.
    pub fn seen(&self) -> Vec<String> {
        self.state.lock().unwrap().seen.clone()
    }
}

/// One connection of a client. It sends a request in one piece unless that has a large body.
fn forward(mut client: UnixStream, engine: &Path, state: &Arc<Mutex<State>>) {
    let Ok(mut engine) = UnixStream::connect(engine) else {
        return;
    };
    let holding = Arc::new(Mutex::new(false));
    let (answers, back) = (engine.try_clone().unwrap(), client.try_clone().unwrap());
    let (held, shared) = (Arc::clone(&holding), Arc::clone(state));
    std::thread::spawn(move || answer(answers, back, &held, &shared));
    let mut piece = vec![0; 64 << 10];
    while let Ok(length) = client.read(&mut piece) {
        if length == 0 {
            break;
        }
        if state.lock().unwrap().is_slow {
            std::thread::sleep(Duration::from_millis(5));
        }
        if springs(state, &piece[..length]) {
            *holding.lock().unwrap() = true;
        }
        if engine.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = engine.shutdown(Shutdown::Write);
}

/// Notes the request that begins here, and tells whether it is the one whose answer is to be held.
fn springs(state: &Mutex<State>, piece: &[u8]) -> bool {
    let text = String::from_utf8_lossy(piece);
    let line = text.lines().next().unwrap_or_default();
    if !line.contains(" HTTP/") {
        return false;
    }
    let mut state = state.lock().unwrap();
    state.seen.push(line.to_owned());
    let springs = state.trap.as_ref().is_some_and(|is_it| is_it(line));
    if springs {
        state.trap = None;
    }
    springs
}

fn answer(mut engine: UnixStream, mut client: UnixStream, held: &Mutex<bool>, state: &Mutex<State>) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(length) = engine.read(&mut piece) {
        if length == 0 {
            break;
        }
        if *held.lock().unwrap() {
            state.lock().unwrap().sprung = true;
        } else if client.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Write);
}
