//! Where samples come from.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::control::samples::{PATH, Sample};

/// How long the daemon may take. It gives up a little earlier itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest answer, in bytes: thousands of exports.
const ANSWER_MAX: u64 = 64 << 20;

/// Gives a sample each time that it is asked.
pub trait Samples {
    /// How things are now.
    ///
    /// # Errors
    ///
    /// When the daemon does not tell.
    fn sample(&mut self) -> Result<Sample, Unreachable>;
}

/// The control socket of a daemon.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
}

/// The daemon does not tell.
#[derive(Debug)]
pub struct Unreachable {
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Io(io::Error),
    Answer(String),
}

impl Socket {
    /// The socket at this path; it is connected to for each sample.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn ask(&self) -> Result<Sample, Why> {
        let mut stream = UnixStream::connect(&self.path).map_err(Why::Io)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(Why::Io)?;
        let request = format!("GET {PATH} HTTP/1.1\r\nHost: xblade\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(Why::Io)?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut answer).map_err(Why::Io)?;
        parse(&answer).map_err(Why::Answer)
    }
}

impl Samples for Socket {
    fn sample(&mut self) -> Result<Sample, Unreachable> {
        self.ask().map_err(|why| Unreachable { path: self.path.clone(), why })
    }
}

/// The sample in an answer, or what is in it instead.
fn parse(answer: &[u8]) -> Result<Sample, String> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = end.and_then(|end| answer.split_at_checked(end + 4)).unwrap_or((answer, &[]));
    let status = String::from_utf8_lossy(head);
    let status = status.lines().next().and_then(|line| line.split(' ').nth(1)).unwrap_or("nothing");
    if status != "200" {
        return Err(format!("answers {status}: {}", String::from_utf8_lossy(body).trim()));
    }
    serde_json::from_slice(body).map_err(|e| format!("answers something else ({e}): is it another version?"))
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            Why::Answer(text) => write!(f, "xblade at {path} {text}"),
            Why::Io(e) => {
                write!(f, "cannot ask xblade at {path}: {e}. ")?;
                f.write_str(match e.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                        "Is it running, and is this its control socket (--control; control in the section [service])?"
                    }
                    io::ErrorKind::PermissionDenied => {
                        "Be root, or in the group that may use it (control-group in the section [service])"
                    }
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "A store may hang: look at its log",
                    _ => "Look at its log",
                })
            }
        }
    }
}

impl std::error::Error for Unreachable {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_refusals_are_told() {
        let sample = Sample { up_ns: 7, ..Sample::default() };
        let body = serde_json::to_string(&sample).unwrap();
        assert_eq!(parse(format!("HTTP/1.1 200 OK\r\na: b\r\n\r\n{body}").as_bytes()), Ok(sample));
        for (answer, parts) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\nxblade ends\n", ["answers 503", "xblade ends"]),
            ("HTTP/1.1 404 Not Found\r\n\r\n", ["answers 404", ""]),
            ("HTTP/1.1 200 OK\r\n\r\n{}", ["missing field", "another version"]),
            ("", ["answers nothing", ""]),
        ] {
            let said = parse(answer.as_bytes()).unwrap_err();
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
    }

    #[test]
    fn a_socket_that_is_not_there_is_named_with_the_remedy() {
        let mut socket = Socket::new("/nonexistent/xblade.sock".into());
        let said = socket.sample().unwrap_err().to_string();
        assert!(said.contains("/nonexistent/xblade.sock") && said.contains("--control"), "{said}");
    }
}
