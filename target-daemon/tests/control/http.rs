//! Raw HTTP, including requests that the project's own clients would not send.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Timeout for anything on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The status and body of an answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        assert!(self.head.to_lowercase().contains("content-type: application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The error message in the body.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("no error: {self:?}")).to_owned()
    }
}

pub fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends as many bytes as the server takes, and reads until the end of the stream.
pub fn raw(path: &Path, bytes: &[u8]) -> String {
    let mut stream = connect(path);
    let _ = stream.write_all(bytes);
    read(&mut stream)
}

/// Reads until the end of the stream.
pub fn read(stream: &mut UnixStream) -> String {
    let mut all = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(n) => all.extend(&part[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(e) => panic!("the connection was not closed: {e}"),
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

pub fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

pub fn ask(path: &Path, method: &str, uri: &str, body: &str) -> Answer {
    let length = body.len();
    parse(&raw(
        path,
        format!("{method} {uri} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes(),
    ))
}

pub fn get(path: &Path, uri: &str) -> Answer {
    parse(&raw(path, format!("GET {uri} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()))
}
