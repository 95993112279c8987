//! HTTP client for the control socket of a running xblade: one request per connection,
//! with the response read whole or line by line. It asks in HTTP/1.0: the response ends
//! where the connection does.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Group};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::socket::connect;
use super::stream::send;

/// Timeout for a response, longer than the daemon's own limit.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Timeout for the response to a change.
const CHANGE_WITHIN: Duration = Duration::from_secs(45);

/// Maximum length of a line in a streamed response, in bytes.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Maximum length of the head of a response, in bytes.
const HEAD_BYTES_MAX: u64 = 64 << 10;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct CallError {
    /// The exit code of the process.
    pub exit_code: u8,
    text: String,
}

impl CallError {
    /// An error with its exit code.
    pub fn new(exit_code: u8, text: impl Into<String>) -> Self {
        Self { exit_code, text: text.into() }
    }
}

impl From<io::Error> for CallError {
    /// Output failed.
    fn from(_: io::Error) -> Self {
        Self::new(1, "cannot write to standard output")
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
    pub fn call(&self, method: &str, uri: &str, body: &str) -> Result<Vec<u8>, CallError> {
        self.call_with(&[], method, uri, body)
    }

    /// As [`Self::call`], and hands over descriptors.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn call_with(
        &self,
        descriptors: &[BorrowedFd<'_>],
        method: &str,
        uri: &str,
        body: &str,
    ) -> Result<Vec<u8>, CallError> {
        let limit = if method == "GET" { ANSWER_WITHIN } else { CHANGE_WITHIN };
        self.whole(self.begin(descriptors, method, uri, body, limit)?)
    }

    /// Reads a document.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn get<T: DeserializeOwned>(&self, uri: &str) -> Result<T, CallError> {
        self.parse(&self.call("GET", uri, "")?)
    }

    /// Parses a document that was received.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn parse<T: DeserializeOwned>(&self, answer: &[u8]) -> Result<T, CallError> {
        serde_json::from_slice(answer).map_err(|error| self.odd(&error.to_string()))
    }

    /// Sends a GET request whose response is streamed line by line.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn lines(&self, uri: &str) -> Result<Lines<'a>, CallError> {
        Ok(Lines { client: *self, answer: self.begin(&[], "GET", uri, "", ANSWER_WITHIN)?.stream })
    }

    /// Sends a request. Returns the body of the response, which is not read yet.
    fn begin(
        &self,
        descriptors: &[BorrowedFd<'_>],
        method: &str,
        uri: &str,
        body: &str,
        limit: Duration,
    ) -> Result<Answer, CallError> {
        let mut stream = connect(self.path).map_err(|error| self.unreachable(&error))?;
        let exchange = move || {
            stream.set_read_timeout(Some(limit))?;
            stream.set_write_timeout(Some(limit))?;
            let head = format!("{method} {uri} HTTP/1.0\r\nContent-Type: application/json\r\n");
            let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            let sent = send(&stream, request.as_bytes(), descriptors)?;
            stream.write_all(request.as_bytes().get(sent..).unwrap_or_default())?;
            let (mut answer, mut head) = (BufReader::new(stream), String::new());
            let mut lines = answer.by_ref().take(HEAD_BYTES_MAX);
            while !head.ends_with("\r\n\r\n") && lines.read_line(&mut head)? > 0 {}
            Ok((head, answer))
        };
        let (head, stream) = exchange().map_err(|error| self.broken(&error, limit))?;
        let answer = Answer { stream, length: length_in(&head) };
        let head = head.strip_suffix("\r\n\r\n").and_then(|head| head.lines().next());
        let status = head.and_then(|line| line.strip_prefix("HTTP/1.")?.split_once(' '));
        let Some((_, status)) = status else {
            return Err(self.broken(&io::Error::other("no answer in HTTP"), limit));
        };
        let exit_code = match status.as_bytes() {
            [b'2', ..] => return Ok(answer),
            [b'4', b'0', b'3' | b'9', ..] => 3,
            [b'4', ..] => 2,
            _ => 1,
        };
        let refusal: Value = serde_json::from_slice(&self.whole(answer)?).unwrap_or_default();
        let message = refusal.get("error").and_then(Value::as_str);
        Err(CallError::new(exit_code, message.unwrap_or(status)))
    }

    fn whole(&self, Answer { mut stream, length }: Answer) -> Result<Vec<u8>, CallError> {
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes).and_then(|read| match length {
            // The end of the connection is that of the response only if nothing is missing.
            Some(length) if read < length => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(bytes),
        });
        read.map_err(|error| self.broken(&error, CHANGE_WITHIN))
    }

    /// An answer that makes no sense.
    pub fn odd(&self, what: &str) -> CallError {
        self.failed(
            1,
            format!("an answer that this program does not understand: {what}: is it of the same version?"),
        )
    }

    fn unreachable(&self, error: &io::Error) -> CallError {
        if let Some(kind) = other_kind(self.path) {
            let why = format!("is a {kind}, not the control socket of an xblade: give that (--control PATH)");
            return self.failed(2, why);
        }
        let why = match error.kind() {
            ErrorKind::NotFound => format!(
                "there is no such socket: xblade does not run (start it), or has its control socket elsewhere \
                 (--control PATH{})",
                beside(self.path)
            ),
            ErrorKind::ConnectionRefused => {
                "no process listens: xblade has exited and left this socket behind: start it again".to_owned()
            }
            ErrorKind::PermissionDenied => {
                format!(
                    "you may not use this socket: run this as root (sudo), or {}",
                    or_in_group_of(self.path)
                )
            }
            _ => return self.broken(error, ANSWER_WITHIN),
        };
        self.failed(3, why)
    }

    fn broken(&self, error: &io::Error, limit: Duration) -> CallError {
        let limit = limit.as_secs();
        let why = match error.kind() {
            ErrorKind::WouldBlock => {
                format!(
                    "no answer within {limit} s: xblade hangs, or its machine is too busy: look at its log"
                )
            }
            _ => format!("cannot ask: {error}: look whether xblade still runs"),
        };
        self.failed(1, why)
    }

    fn failed(&self, exit_code: u8, why: String) -> CallError {
        CallError::new(exit_code, format!("{}: {why}", self.path.display()))
    }
}

/// A response whose head has been read.
struct Answer {
    stream: BufReader<UnixStream>,
    /// The length of the body, unless it is streamed.
    length: Option<usize>,
}

/// The length of the body that a head names.
fn length_in(head: &str) -> Option<usize> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?.1.trim().parse().ok()
}

/// The kind of file at this path, unless it is a socket.
fn other_kind(path: &Path) -> Option<&'static str> {
    let kind = path.metadata().ok()?.file_type();
    (!kind.is_socket()).then_some(if kind.is_dir() { "folder" } else { "file" })
}

/// A response that is streamed line by line.
#[derive(Debug)]
pub struct Lines<'a> {
    client: Client<'a>,
    answer: BufReader<UnixStream>,
}

impl Lines<'_> {
    /// Returns the next line, including its newline, or `None` at `until`. The stream itself
    /// does not end before the daemon.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn next(&mut self, until: Option<Instant>) -> Result<Option<Vec<u8>>, CallError> {
        let Self { client, answer } = self;
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(None);
        }
        let mut line = Vec::new();
        let limit = answer.get_ref().set_read_timeout(left);
        match limit.and_then(|()| answer.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(client.broken(&error, ANSWER_WITHIN)),
            Ok(_) if line.ends_with(b"\n") => Ok(Some(line)),
            Ok(0) => Err(client.broken(&ErrorKind::UnexpectedEof.into(), ANSWER_WITHIN)),
            Ok(_) => Err(client.odd(&format!("a line that is broken off after {} bytes", line.len()))),
        }
    }
}

/// The sockets in the folder of a missing socket, for its error.
fn beside(path: &Path) -> String {
    let entries = path.parent().and_then(|folder| folder.read_dir().ok());
    let sockets = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()));
    let mut sockets: Vec<String> = sockets.map(|entry| entry.path().display().to_string()).collect();
    sockets.sort();
    if sockets.is_empty() { String::new() } else { format!("; there is {}", sockets.join(", ")) }
}

/// How a user gets to use a socket, through its group unless that is root's.
fn or_in_group_of(path: &Path) -> String {
    let Some(gid) = path.metadata().ok().map(|file| file.gid()).filter(|gid| *gid != 0) else {
        return "have xblade give it to a group (control-group = \"xblade\" under [service], or --control-group) that \
                you are in"
            .to_owned();
    };
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    let group = group.map_or_else(|| gid.to_string(), |group| group.name);
    format!("as a member of the group {group} (usermod -aG {group} USER, and log in again)")
}
