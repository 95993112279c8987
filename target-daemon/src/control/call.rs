//! One request to the control socket of a running xblade.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use nix::unistd::{Gid, Group};
use tokio::net::UnixStream;
use tokio::runtime;
use tokio::time::timeout;

use super::json;

/// Time for an answer: longer than the daemon gives itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The same for a change.
const CHANGE_WITHIN: Duration = Duration::from_secs(45);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No socket there.
    #[error(
        "{}: there is no such socket: xblade does not run (start it), or has its control socket elsewhere \
         (--control PATH)", .0.display()
    )]
    Absent(PathBuf),
    /// A socket, and nobody.
    #[error("{}: nobody answers: xblade has ended, and left this socket behind: start it again", .0.display())]
    Dead(PathBuf),
    /// Something else.
    #[error("{}: is a {kind}, not the control socket of an xblade: give that (--control PATH)", path.display())]
    NoSocket {
        /// What was given.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// It is for others.
    #[error("{}: you may not use this socket: run this as root (sudo), or {}", path.display(), or_in(group.as_deref()))]
    Forbidden {
        /// The socket.
        path: PathBuf,
        /// The group that may.
        group: Option<String>,
    },
    /// No answer in time.
    #[error(
        "{}: no answer within {} s: xblade hangs, or its machine is too busy: look at its log",
        path.display(), limit.as_secs()
    )]
    Slow {
        /// The socket.
        path: PathBuf,
        /// How long was waited.
        limit: Duration,
    },
    /// The connection broke.
    #[error("{}: cannot ask: {what}: look whether xblade still runs", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// In words of the system.
        what: String,
    },
    /// An answer that is none.
    #[error("{}: an answer that this program does not understand: {what}: is it of the same version?", path.display())]
    Odd {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// An answer: no.
    #[error("{message}")]
    Refused {
        /// Of HTTP.
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
            Self::Absent(_) | Self::Dead(_) | Self::Forbidden { .. } => 3,
            Self::Refused { status, .. } if *status == StatusCode::CONFLICT => 3,
            Self::NoSocket { .. } => 2,
            Self::Refused { status, .. } if status.is_client_error() => 2,
            Self::Slow { .. } | Self::Broken { .. } | Self::Odd { .. } | Self::Refused { .. } => 1,
        }
    }
}

/// Asks at one socket.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    path: &'a Path,
}

impl<'a> Client<'a> {
    /// At this socket.
    pub fn new(path: &'a Path) -> Self {
        Self { path }
    }

    /// Sends a request and returns the body of the answer.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn call(&self, method: &str, uri: &str, body: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let limit = if method == "GET" { ANSWER_WITHIN } else { CHANGE_WITHIN };
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| self.broken(&error))?;
        let (status, bytes) = runtime.block_on(async {
            let answer = timeout(limit, self.exchange(method, uri, body)).await;
            answer.unwrap_or_else(|_| Err(CallError::Slow { path: self.path.to_owned(), limit }))
        })?;
        if status.is_success() {
            return Ok(bytes);
        }
        let message =
            serde_json::from_slice::<json::Error>(&bytes).map_or_else(|_| status.to_string(), |e| e.error);
        Err(CallError::Refused { status, message })
    }

    async fn exchange(
        &self,
        method: &str,
        uri: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Vec<u8>), CallError> {
        let stream = UnixStream::connect(self.path).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        // Its outcome is that of the request.
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
        let answer = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| self.broken(&error))?;
        Ok((status, body.to_bytes().to_vec()))
    }

    fn unreachable(&self, error: &io::Error) -> CallError {
        let path = self.path.to_owned();
        if let Some(kind) = other_kind(&path) {
            return CallError::NoSocket { path, kind };
        }
        match error.kind() {
            ErrorKind::NotFound => CallError::Absent(path),
            ErrorKind::ConnectionRefused => CallError::Dead(path),
            ErrorKind::PermissionDenied => CallError::Forbidden { group: group_of(&path), path },
            _ => self.broken(error),
        }
    }

    fn broken(&self, error: &dyn std::error::Error) -> CallError {
        CallError::Broken { path: self.path.to_owned(), what: error.to_string() }
    }
}

/// What is there, if it is no socket.
fn other_kind(path: &Path) -> Option<&'static str> {
    let kind = path.metadata().ok()?.file_type();
    (!kind.is_socket()).then_some(if kind.is_dir() { "folder" } else { "file" })
}

/// The group of a socket, unless it is that of root.
fn group_of(path: &Path) -> Option<String> {
    let gid = path.metadata().ok().map(|file| file.gid()).filter(|gid| *gid != 0)?;
    Some(
        Group::from_gid(Gid::from_raw(gid))
            .ok()
            .flatten()
            .map_or_else(|| gid.to_string(), |group| group.name),
    )
}
