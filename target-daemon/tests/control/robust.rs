//! Misbehaving clients. Others must be served meanwhile.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::fake::Fake;
use crate::http::{connect, get, parse, raw, read};

/// Another client is served without delay.
#[track_caller]
fn assert_served(fake: &Fake) {
    let before = Instant::now();
    assert_eq!(get(&fake.path, "/v1/status").status, 200);
    let took = before.elapsed();
    assert!(took < Duration::from_secs(3), "served after {took:?}");
}

#[test]
fn garbage_is_refused() {
    let fake = Fake::new();
    let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for bytes in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"hello\r\n\r\n",
        b"GET /v1/status HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
        &noise,
    ] {
        let mut stream = connect(&fake.path);
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let answer = read(&mut stream);
        assert!(answer.is_empty() || parse(&answer).status == 400, "{answer}");
        assert_served(&fake);
    }
}

#[test]
fn headers_have_a_limit() {
    let fake = Fake::new();
    let long = format!("GET /v1/status HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(1 << 20));
    let many = format!("GET /v1/status HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    let uri = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(1 << 20));
    for request in [long, many, uri] {
        let answer = parse(&raw(&fake.path, request.as_bytes()));
        assert!([414, 431].contains(&answer.status), "{answer:?}");
        assert_served(&fake);
    }
}

#[test]
fn bodies_have_a_limit() {
    let fake = Fake::new();
    let head = "POST /v1/exports HTTP/1.1\r\nHost: x\r\n";
    // Valid except for its length.
    let body = format!("{}{}", " ".repeat(1 << 20), r#"{"export": "0.3=/srv/x"}"#);
    let sized = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    // No body is sent, and no memory is reserved for it.
    let promised = format!("{head}Content-Length: {}\r\n\r\n", u64::MAX / 2);
    for request in [sized, chunked, promised] {
        let answer = parse(&raw(&fake.path, request.as_bytes()));
        assert!(answer.status == 413 && answer.error().contains("65536"), "{answer:?}");
        assert_served(&fake);
    }
    assert!(fake.asked.lock().unwrap().is_empty());
}

#[test]
fn who_is_slow_is_cut_off() {
    let fake = Fake::new();
    let starts = [
        "",
        "GET /v1/st",
        "GET /v1/status HTTP/1.1\r\nX: ",
        "POST /v1/exports HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    ];
    let threads = starts.map(|start| {
        let mut stream = connect(&fake.path);
        stream.write_all(start.as_bytes()).unwrap();
        thread::spawn(move || {
            let before = Instant::now();
            let answer = read(&mut stream);
            assert!(answer.is_empty() || parse(&answer).status == 408, "{answer}");
            let took = before.elapsed();
            assert!((3..25).contains(&took.as_secs()), "{start:?} was cut off after {took:?}");
        })
    });
    assert_served(&fake);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_served(&fake);
}

/// Sending a byte now and then does not keep a connection open.
#[test]
fn who_trickles_is_cut_off() {
    let fake = Fake::new();
    let mut stream = connect(&fake.path);
    let before = Instant::now();
    while stream.write_all(b"G").is_ok() {
        assert!(before.elapsed() < Duration::from_secs(25), "still connected");
        thread::sleep(Duration::from_millis(200));
    }
    assert_served(&fake);
}

#[test]
fn two_hundred_idle_clients_are_in_no_ones_way() {
    let fake = Fake::new();
    let idle: Vec<_> = (0..200).map(|_| connect(&fake.path)).collect();
    assert_served(&fake);
    drop(idle);
    assert_served(&fake);
}

/// More clients than connections: the rest wait until the idle ones are cut off.
#[test]
fn more_idle_clients_than_places_hold_it_up_for_seconds_only() {
    let fake = Fake::new();
    let path = fake.path.clone();
    // On another thread, because clients beyond the queue block in connect.
    let idle = thread::spawn(move || (0..600).map(|_| connect(&path)).collect::<Vec<_>>());
    let idle = idle.join().unwrap();
    assert_eq!(get(&fake.path, "/v1/status").status, 200);
    drop(idle);
    assert_served(&fake);
}

#[test]
fn two_hundred_requests_at_once_are_answered() {
    let fake = Fake::new();
    let threads: Vec<_> = (0..200)
        .map(|_| {
            let path = fake.path.clone();
            thread::spawn(move || get(&path, "/v1/stats").status)
        })
        .collect();
    let codes: Vec<u16> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(codes.iter().all(|code| *code == 200), "{codes:?}");
    assert_served(&fake);
}

/// Clients that disconnect before their answer do not affect others.
#[test]
fn who_goes_early_is_forgotten() {
    let fake = Fake::new();
    for _ in 0..500 {
        let mut stream = connect(&fake.path);
        stream.write_all(b"GET /v1/stats HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    assert_served(&fake);
}

#[test]
fn a_control_thread_that_hangs_is_told_of() {
    let fake = Fake::silent();
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let path = fake.path.clone();
            thread::spawn(move || get(&path, "/v1/status"))
        })
        .collect();
    for thread in waiting {
        let answer = thread.join().unwrap();
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.error().contains("no answer within 10 s"), "{answer:?}");
    }
}

#[test]
fn a_full_channel_is_told_of_at_once() {
    let dir = crate::image::Dir::new();
    let path = dir.path().join("s");
    let (asker, _asked) = xblade::control::channel().unwrap();
    // None of these requests is taken from the channel.
    while asker.ask(xblade::control::Request::Snapshot(Box::new(|_| ()))) {}
    let _server = xblade::control::start(xblade::control::bind(&path, None, None).unwrap(), asker).unwrap();
    let before = Instant::now();
    let answer = get(&path, "/v1/status");
    assert!(answer.status == 503 && answer.error().contains("too much to answer"), "{answer:?}");
    assert!(before.elapsed() < Duration::from_secs(3));
}
