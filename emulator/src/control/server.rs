// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Serves the control socket, on threads of its own.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::protocol::{Answer, FaultReport, Report, Request};
use crate::config;
use crate::drive::{FrontEnd, PollerHandle};
use crate::fault::Rules;

/// The longest line that anybody has reason to send: a file of fault rules.
const MAX_LINE: u64 = 256 << 10;
/// What rules that came through the socket are called in messages.
const RULES: &str = "rules";
/// How many may be connected at a time.
const MAX_CLIENTS: usize = 16;
/// How long a client may take to accept an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a client may keep its connection without a request: the others need the places.
const IDLE_PATIENCE: Duration = Duration::from_secs(60);

/// A control socket; removed when dropped.
pub struct ControlServer {
    path: PathBuf,
}

impl ControlServer {
    /// Listens at `path`, which must not exist, or be a socket that nobody serves any more.
    ///
    /// # Errors
    /// When something else is at `path`, or the socket cannot be made.
    pub fn start<F: FrontEnd>(path: &Path, poller: &PollerHandle<F>) -> io::Result<Self> {
        make_room(path)?;
        let listener = UnixListener::bind(path)?;
        let poller = poller.clone();
        std::thread::Builder::new()
            .name("control".into())
            .spawn(move || accept(&listener, &poller))?;
        Ok(Self { path: path.into() })
    }
}

/// Removes a socket that nobody serves any more. Nothing else is ever removed.
fn make_room(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "it exists and is no socket; remove it or choose another path",
        ));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process serves this socket; end it or choose another path",
        ));
    }
    // If it cannot be removed, binding fails and says so.
    let _ = std::fs::remove_file(path);
    Ok(())
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        // Gone already is as good. The threads end with the process.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Sends one request and returns the answer's line.
///
/// # Errors
/// When nobody serves the socket, or the answer does not come.
pub fn ask(path: &Path, request: &Request) -> io::Result<String> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    (&stream).write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer)?;
    Ok(answer.trim_end().into())
}

fn accept<F: FrontEnd>(listener: &UnixListener, poller: &PollerHandle<F>) {
    let clients = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of descriptors, most likely: they may come back.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        let guard = ClientGuard::enter(&clients);
        let poller = poller.clone();
        let spawned = std::thread::Builder::new()
            .name("control-client".into())
            .spawn(move || {
                if guard.within_limit {
                    // A client that leaves, or sends too much, is nobody's concern.
                    let _ = converse(&stream, &poller);
                }
            });
        if let Err(error) = spawned {
            log::warn!("a control client was turned away: {error}");
        }
    }
}

/// Counts a client for as long as it lives.
struct ClientGuard {
    clients: Arc<AtomicUsize>,
    within_limit: bool,
}

impl ClientGuard {
    fn enter(clients: &Arc<AtomicUsize>) -> Self {
        let before = clients.fetch_add(1, Ordering::Relaxed);
        Self {
            clients: Arc::clone(clients),
            within_limit: before < MAX_CLIENTS,
        }
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

fn converse<F: FrontEnd>(stream: &UnixStream, poller: &PollerHandle<F>) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(IDLE_PATIENCE))?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let got = reader
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)?;
        if got == 0 {
            return Ok(());
        }
        let complete = line.ends_with(b"\n");
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => answer(request, poller),
            Err(error) => Answer::refused(format!("no request: {error}")),
        };
        let mut text = serde_json::to_string(&answer)?;
        text.push('\n');
        (&*stream).write_all(text.as_bytes())?;
        if !complete {
            // Too long, or the last line: what follows is no beginning of a request.
            return Ok(());
        }
    }
}

fn answer<F: FrontEnd>(request: Request, poller: &PollerHandle<F>) -> Answer {
    match request {
        Request::Ping {} => match poller.with_function(|_, _| ()) {
            Ok(()) => Answer::done(),
            Err(gone) => Answer::refused(gone),
        },
        Request::Counters {} => match poller.with_function(|f, counters| Report::of(f, counters)) {
            Ok(report) => Answer {
                report: Some(report),
                ..Answer::done()
            },
            Err(gone) => Answer::refused(gone),
        },
        Request::Profile { profile, set } => speed(profile.as_deref(), set, poller),
        Request::Faults { rules, clear } => faults(rules, clear, poller),
    }
}

fn speed<F: FrontEnd>(
    profile: Option<&str>,
    set: BTreeMap<String, String>,
    poller: &PollerHandle<F>,
) -> Answer {
    if profile.is_none() && set.is_empty() {
        return Answer::refused("which profile, or which values of it?");
    }
    // Read here: the poller does not wait for files.
    let base = match profile {
        Some(name) => config::load_profile(name).map_err(|error| error.to_string()),
        None => poller
            .with_function(|function, _| function.engine_mut().profile().clone())
            .map_err(|gone| gone.to_string()),
    };
    let changes: Vec<_> = set.into_iter().collect();
    let changed = base.and_then(|base| match changes.is_empty() {
        true => Ok(base),
        false => base.with(&changes).map_err(|error| error.to_string()),
    });
    let profile = match changed {
        Ok(profile) => profile,
        Err(error) => return Answer::refused(error),
    };
    let name = profile.name().to_owned();
    match poller.with_function(move |function, _| function.engine_mut().set_profile(profile)) {
        Ok(Ok(())) => Answer {
            profile: Some(name),
            ..Answer::done()
        },
        Ok(Err(error)) => Answer::refused(error),
        Err(gone) => Answer::refused(gone),
    }
}

fn faults<F: FrontEnd>(rules: Option<String>, clear: bool, poller: &PollerHandle<F>) -> Answer {
    let rules = match (rules, clear) {
        (Some(_), true) => {
            return Answer::refused("rules and clear: ask for one of the two");
        }
        (Some(text), false) => match Rules::parse(&text, RULES) {
            Ok(rules) => Some(rules),
            Err(error) => return Answer::refused(error),
        },
        (None, true) => Some(Rules::default()),
        (None, false) => None,
    };
    let report = poller.with_function(move |function, _| {
        if let Some(rules) = rules {
            function.set_faults(rules);
        }
        FaultReport::of(function)
    });
    match report {
        Ok(report) => Answer {
            faults: Some(report),
            ..Answer::done()
        },
        Err(gone) => Answer::refused(gone),
    }
}
