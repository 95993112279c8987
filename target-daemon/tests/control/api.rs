//! Every route and its answers.

use crate::fake::Fake;
use crate::http::{ask, get};

#[test]
fn changes_reach_the_control_thread() {
    let fake = Fake::new();
    let rows = [
        ("POST", "/v1/exports", r#"{"address": "0.3", "path": "/srv/y", "read-only": true}"#, "0.3 added"),
        ("POST", "/v1/exports", r#"{"export": "0.4=/srv/y,ro"}"#, "0.4 added"),
        ("DELETE", "/v1/exports/0.1", "", "0.1 removed"),
        ("POST", "/v1/exports/0.1/read-only", r#"{"read-only": true}"#, "0.1 read-only"),
        ("POST", "/v1/exports/0.1/read-only", r#"{"read-only": false}"#, "0.1 takes writes"),
        ("POST", "/v1/exports/0.1/resize", "", "0.1 measured"),
        ("DELETE", "/v1/exports/0.1/reservation", "", "0.1 reservation cleared"),
        ("DELETE", "/v1/exports/0.1/config?refuse=true", "", "0.1 config cleared, refused"),
        ("DELETE", "/v1/exports/0.1/mask", "", "0.1 mask cleared"),
    ];
    for (method, uri, body, expected) in rows {
        let answer = ask(&fake.path, method, uri, body);
        let line = answer.json()["changed"][0].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 200 && line.starts_with(expected), "{method} {uri}: {answer:?}");
        assert_eq!(fake.last(), line);
    }
    let answer = ask(&fake.path, "POST", "/v1/reload", "");
    assert_eq!((answer.status, &answer.json()["changed"]), (200, &serde_json::json!([])));
    assert_eq!(fake.last(), "reloaded");
}

#[test]
fn nobody_waits_for_a_daemon_that_ends() {
    let mut fake = Fake::silent();
    let path = fake.path.clone();
    let waiting = std::thread::spawn(move || get(&path, "/v1/status"));
    // Whether or not the request was taken already, the answer is the same.
    fake.end_control_thread();
    let answer = waiting.join().unwrap();
    assert!(answer.status == 503 && answer.error().contains("ends"), "{answer:?}");
    let answer = get(&fake.path, "/v1/status");
    assert!(answer.status == 503 && answer.error().contains("ends"), "{answer:?}");
}
