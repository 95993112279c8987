//! The listener, with made-up answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use xblade::control::metrics;
use xblade::control::{Request, RequestQueue, RequestSender, channel};

use crate::overview::overview;

/// A listener whose requests are answered for the lifetime of the process.
pub fn listener() -> SocketAddr {
    let (asker, asked) = channel().unwrap();
    thread::spawn(move || answer(&asked));
    start(asker)
}

fn start(asker: RequestSender) -> SocketAddr {
    let listener = metrics::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    // It answers until the process ends.
    std::mem::forget(metrics::start(listener, asker).unwrap());
    address
}

pub fn answer(asked: &RequestQueue) {
    loop {
        let mut fds = [PollFd::from_borrowed_fd(asked.as_fd(), PollFlags::IN)];
        poll(&mut fds, None).unwrap();
        while let Some(ask) = asked.next() {
            match ask {
                Request::Snapshot(answer) => answer(overview()),
                _ => panic!("the listener may ask for nothing else"),
            }
        }
    }
}

/// The head and the body of an answer.
pub fn get(address: SocketAddr, path: &str, accept: &str) -> (String, String) {
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"))
}

fn request(address: SocketAddr, text: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

#[test]
fn metrics_come_in_both_formats() {
    let address = listener();
    let (head, body) = get(address, "/metrics", "application/openmetrics-text;version=1.0.0");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0;"), "{head}");
    assert!(body.ends_with("\n# EOF\n"), "{body}");
    let (head, body) = get(address, "/metrics", "text/plain");
    assert!(head.contains("content-type: text/plain; version=0.0.4;"), "{head}");
    assert!(body.contains("\n# TYPE xblade_export_requests_total counter\n"), "{body}");
    let (head, body) = get(address, "/", "text/html");
    assert!(head.contains("200") && body.contains("href=\"/metrics\""), "{head}\n{body}");
}

#[test]
fn nothing_else_is_answered() {
    let address = listener();
    for path in ["/metrics/", "/v1/status", "/..", "/metrics.json"] {
        assert!(get(address, path, "*/*").0.starts_with("http/1.1 404"), "{path}");
    }
    for method in ["POST", "DELETE", "PUT"] {
        let (head, _) =
            request(address, &format!("{method} /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"));
        assert!(head.starts_with("http/1.1 405"), "{method}: {head}");
    }
}

#[test]
fn when_nobody_answers_the_client_is_told() {
    let (asker, asked) = channel().unwrap();
    let address = start(asker);
    // The other end is gone, as when the daemon exits.
    drop(asked);
    let (head, body) = get(address, "/metrics", "*/*");
    assert!(head.starts_with("http/1.1 503"), "{head}");
    assert!(body.contains("too much to answer already, or ends"), "{body}");
}

#[test]
fn clients_that_say_nothing_do_not_keep_others_out() {
    let address = listener();
    let silent: Vec<TcpStream> = (0..32).map(|_| TcpStream::connect(address).unwrap()).collect();
    let began = Instant::now();
    let (head, _) = get(address, "/metrics", "*/*");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    // 8 at a time, 5 s each: at most four groups of silent clients come before it.
    assert!(began.elapsed() < Duration::from_secs(29), "{:?}", began.elapsed());
    drop(silent);
}

#[test]
fn a_connection_is_closed_after_its_answer() {
    let address = listener();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2).as_bytes()).unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    assert_eq!(text.matches("# EOF").count(), 1, "one request each");
}
