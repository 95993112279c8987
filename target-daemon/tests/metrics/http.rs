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
    std::mem::forget(metrics::start(listener, Vec::new(), asker).unwrap());
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
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\n\r\n"))
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
        let (head, _) = request(
            address,
            &format!("{method} /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"),
        );
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
    // Half a request is none.
    (&silent[31]).write_all(b"GET /metrics HTTP/1.1\r\nHost:").unwrap();
    for _ in 0..20 {
        let began = Instant::now();
        let (head, _) = get(address, "/metrics", "*/*");
        assert!(head.starts_with("http/1.1 200"), "{head}");
        // Less than the time after which a silent client is closed in any case.
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
    drop(silent);
}

#[test]
fn clients_that_do_not_read_do_not_keep_others_out() {
    let (asker, asked) = channel().unwrap();
    // Nobody answers, so each of these waits for its answer.
    let address = start(asker);
    let waiting: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
            stream
        })
        .collect();
    let mut requests = Vec::new();
    xblade_kit::until("all have asked", || {
        requests.extend(asked.next());
        requests.len() == waiting.len()
    });
    let began = Instant::now();
    let (head, _) = get(address, "/", "*/*");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let took = began.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(6)).contains(&took), "{took:?}");
    drop((waiting, requests));
}

#[test]
fn only_requests_by_an_address_or_a_known_name_are_answered() {
    let (asker, asked) = channel().unwrap();
    thread::spawn(move || answer(&asked));
    let listener = metrics::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    std::mem::forget(metrics::start(listener, vec!["storage.example".to_owned()], asker).unwrap());
    let status = |target: &str, host: &str| {
        let (head, body) = request(address, &format!("GET {target} HTTP/1.1\r\n{host}\r\n"));
        (head.split(' ').nth(1).unwrap().to_owned(), body)
    };
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let own = format!("{machine}:9464");
    for good in ["127.0.0.1", "[::1]:9464", "localhost:9464", "Storage.Example:9464", &own] {
        assert_eq!(status("/metrics", &format!("Host: {good}\r\n")).0, "200", "{good}");
    }
    for (target, host) in [
        ("/metrics", "evil.example"),
        ("/", "evil.example:9464"),
        ("/metrics", "127.0.0.1.evil.example"),
        // The name in the target counts, and not that of the header.
        ("http://evil.example/metrics", "127.0.0.1"),
    ] {
        let (code, body) = status(target, &format!("Host: {host}\r\n"));
        assert_eq!(code, "421", "{target} of {host}");
        assert!(
            body.contains("metrics-names in the section [service]") && !body.contains("xblade_"),
            "{body}"
        );
    }
}

#[test]
fn a_connection_is_closed_after_its_answer() {
    let address = listener();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(2).as_bytes()).unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    assert_eq!(text.matches("# EOF").count(), 1, "one request each");
}
