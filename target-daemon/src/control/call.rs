//! HTTP client for the control socket of a running xblade: one request per connection,
//! with the response read whole or line by line.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use nix::unistd::{Gid, Group};
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::{self, Runtime};
use tokio::time::{Instant, timeout, timeout_at};

use super::json;

/// Timeout for a response, longer than the daemon's own limit.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Timeout for the response to a change.
const CHANGE_WITHIN: Duration = Duration::from_secs(45);

/// Maximum length of a line in a streamed response, in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no socket at this path.
    #[error(
        "{}: there is no such socket: xblade does not run (start it), or has its control socket elsewhere \
         (--control PATH{})", path.display(), among(others)
    )]
    Absent {
        /// The path that was tried.
        path: PathBuf,
        /// Sockets in the same folder.
        others: Vec<PathBuf>,
    },
    /// The socket exists, but no process listens on it.
    #[error("{}: no process listens: xblade has exited and left this socket behind: start it again", .0.display())]
    Dead(PathBuf),
    /// The path is not a socket.
    #[error("{}: is a {kind}, not the control socket of an xblade: give that (--control PATH)", path.display())]
    NoSocket {
        /// The path that was given.
        path: PathBuf,
        /// The kind of file that is there.
        kind: &'static str,
    },
    /// The caller may not connect.
    #[error("{}: you may not use this socket: run this as root (sudo), or {}", path.display(), or_in(group.as_deref()))]
    Forbidden {
        /// The socket.
        path: PathBuf,
        /// The group that may connect.
        group: Option<String>,
    },
    /// No response in time.
    #[error(
        "{}: no answer within {} s: xblade hangs, or its machine is too busy: look at its log",
        path.display(), limit.as_secs()
    )]
    Slow {
        /// The socket.
        path: PathBuf,
        /// The timeout.
        limit: Duration,
    },
    /// The connection broke.
    #[error("{}: cannot ask: {what}: look whether xblade still runs", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// The system's error message.
        what: String,
    },
    /// The response makes no sense.
    #[error("{}: an answer that this program does not understand: {what}: is it of the same version?", path.display())]
    Odd {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The daemon refused the request.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The reason.
        message: String,
    },
}

fn or_in(group: Option<&str>) -> String {
    match group {
        Some(group) => format!("as a member of the group {group} (usermod -aG {group} USER, and log in again)"),
        None => "have xblade give it to a group (control-group = \"xblade\" under [service], or --control-group) that \
                 you are in"
            .to_owned(),
    }
}

impl CallError {
    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Absent { .. } | Self::Dead(_) | Self::Forbidden { .. } => 3,
            Self::Refused { status, .. } if *status == StatusCode::CONFLICT => 3,
            Self::NoSocket { .. } => 2,
            Self::Refused { status, .. } if status.is_client_error() => 2,
            Self::Slow { .. } | Self::Broken { .. } | Self::Odd { .. } | Self::Refused { .. } => 1,
        }
    }
}

/// A client of one control socket.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    path: &'a Path,
}

impl<'a> Client<'a> {
    /// A client of the socket at this path.
    pub fn new(path: &'a Path) -> Self {
        Self { path }
    }

    /// Sends a request and returns the body of the response.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn call(&self, method: &str, uri: &str, body: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let limit = if method == "GET" { ANSWER_WITHIN } else { CHANGE_WITHIN };
        let runtime = self.runtime()?;
        let answer = self.within(limit, async {
            let answer = self.begin(method, uri, body).await?;
            self.whole(answer).await
        });
        accepted(runtime.block_on(answer)?)
    }

    /// Reads a document.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn get<T: DeserializeOwned>(&self, uri: &str) -> Result<T, CallError> {
        self.parse(&self.call("GET", uri, Vec::new())?)
    }

    /// Parses a document that was received.
    ///
    /// # Errors
    ///
    /// It is none: [`CallError::Odd`].
    pub fn parse<T: DeserializeOwned>(&self, answer: &[u8]) -> Result<T, CallError> {
        serde_json::from_slice(answer).map_err(|error| self.odd(error.to_string()))
    }

    /// Sends a GET request whose response is streamed line by line.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn lines(&self, uri: &str) -> Result<Lines<'a>, CallError> {
        let runtime = self.runtime()?;
        let answer = runtime.block_on(self.within(ANSWER_WITHIN, self.begin("GET", uri, Vec::new())))?;
        if !answer.status().is_success() {
            accepted(runtime.block_on(self.within(ANSWER_WITHIN, self.whole(answer)))?)?;
            return Err(self.odd("a success that is none".to_owned()));
        }
        Ok(Lines { client: *self, runtime, body: answer.into_body(), read: Vec::new() })
    }

    fn runtime(&self) -> Result<Runtime, CallError> {
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
        runtime.map_err(|error| self.broken(&error))
    }

    async fn within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let slow = |_| Err(CallError::Slow { path: self.path.to_owned(), limit });
        timeout(limit, answer).await.unwrap_or_else(slow)
    }

    /// Sends a request and returns the response head; the body is not read yet.
    async fn begin(&self, method: &str, uri: &str, body: Vec<u8>) -> Result<Response<Incoming>, CallError> {
        let stream = UnixStream::connect(self.path).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        // Its outcome is also that of the request.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(HOST, "xblade")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.broken(&error))?;
        sender.send_request(request).await.map_err(|error| self.broken(&error))
    }

    async fn whole(&self, answer: Response<Incoming>) -> Result<(StatusCode, Vec<u8>), CallError> {
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| self.broken(&error))?;
        Ok((status, body.to_bytes().to_vec()))
    }

    fn odd(&self, what: String) -> CallError {
        CallError::Odd { path: self.path.to_owned(), what }
    }

    fn unreachable(&self, error: &io::Error) -> CallError {
        let path = self.path.to_owned();
        if let Some(kind) = other_kind(&path) {
            return CallError::NoSocket { path, kind };
        }
        match error.kind() {
            ErrorKind::NotFound => CallError::Absent { others: beside(&path), path },
            ErrorKind::ConnectionRefused => CallError::Dead(path),
            ErrorKind::PermissionDenied => CallError::Forbidden { group: group_of(&path), path },
            _ => self.broken(error),
        }
    }

    fn broken(&self, error: &dyn std::error::Error) -> CallError {
        CallError::Broken { path: self.path.to_owned(), what: error.to_string() }
    }
}

/// The kind of file at this path, unless it is a socket.
fn other_kind(path: &Path) -> Option<&'static str> {
    let kind = path.metadata().ok()?.file_type();
    (!kind.is_socket()).then_some(if kind.is_dir() { "folder" } else { "file" })
}

/// The body of a response, or the refusal as an error.
fn accepted((status, bytes): (StatusCode, Vec<u8>)) -> Result<Vec<u8>, CallError> {
    if status.is_success() {
        return Ok(bytes);
    }
    let message =
        serde_json::from_slice::<json::Error>(&bytes).map_or_else(|_| status.to_string(), |e| e.error);
    Err(CallError::Refused { status, message })
}

/// A response that is streamed line by line.
#[derive(Debug)]
pub struct Lines<'a> {
    client: Client<'a>,
    runtime: Runtime,
    body: Incoming,
    /// Bytes received but not returned yet.
    read: Vec<u8>,
}

impl Lines<'_> {
    /// Returns the next line, including its newline, or `None` at the end of the stream
    /// or at `until`.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn next(&mut self, until: Option<Instant>) -> Result<Option<Vec<u8>>, CallError> {
        let mut seen = 0;
        loop {
            let unseen = self.read.get(seen..).unwrap_or_default();
            if let Some(at) = unseen.iter().position(|byte| *byte == b'\n') {
                let rest = self.read.split_off(seen + at + 1);
                return Ok(Some(std::mem::replace(&mut self.read, rest)));
            }
            seen = self.read.len();
            if seen > LINE_BYTES_MAX {
                return Err(self.client.odd(format!("a line of more than {LINE_BYTES_MAX} bytes")));
            }
            let Some(frame) = self.frame(until) else { return Ok(None) };
            let frame = frame.map_err(|error| self.client.broken(&error))?;
            self.read.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        }
    }

    fn frame(&mut self, until: Option<Instant>) -> Option<hyper::Result<Frame<Bytes>>> {
        let Self { runtime, body, .. } = self;
        runtime.block_on(async {
            match until {
                Some(until) => timeout_at(until, body.frame()).await.ok().flatten(),
                None => body.frame().await,
            }
        })
    }
}

/// The sockets in the folder of a missing socket, sorted.
fn beside(path: &Path) -> Vec<PathBuf> {
    let entries = path.parent().and_then(|folder| folder.read_dir().ok());
    let sockets = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()));
    let mut sockets: Vec<PathBuf> = sockets.map(|entry| entry.path()).collect();
    sockets.sort();
    sockets
}

fn among(others: &[PathBuf]) -> String {
    match others {
        [] => String::new(),
        others => {
            let names: Vec<String> = others.iter().map(|other| other.display().to_string()).collect();
            format!("; there is {}", names.join(", "))
        }
    }
}

/// The group of a socket, unless it is root's.
fn group_of(path: &Path) -> Option<String> {
    let gid = path.metadata().ok().map(|file| file.gid()).filter(|gid| *gid != 0)?;
    Some(
        Group::from_gid(Gid::from_raw(gid))
            .ok()
            .flatten()
            .map_or_else(|| gid.to_string(), |group| group.name),
    )
}
