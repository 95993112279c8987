//! Every route and its answers.

use crate::fake::Fake;
use crate::http::{ask, get};

#[test]
fn one_export_is_told_as_all_of_them_are() {
    let fake = Fake::new();
    let all = get(&fake.path, "/v1/exports").json();
    let one = get(&fake.path, "/v1/exports/0.1").json();
    assert_eq!(all["exports"][0], one);
    assert_eq!(all["exports"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (&one["config-text"], &one["config-hex"]),
        (&"kept for\u{fffd}\u{1b}".into(), &"6b65707420666f72ff1b".into())
    );
    let host = serde_json::json!(["02:00:00:00:00:01"]);
    assert_eq!((&one["mask"], &one["reservation"], &one["trim"]), (&host, &host, &true.into()));
    assert_eq!(get(&fake.path, "/v1/exports/0.1/reservation").json()["reservation"], host);
    assert_eq!(get(&fake.path, "/v1/exports/0.1/mask").json()["mask"], host);
    assert_eq!(get(&fake.path, "/v1/exports/0.2/mask").json()["mask"], serde_json::json!([]));
}

#[test]
fn the_configuration_is_that_of_the_file() {
    let fake = Fake::new();
    let expected: serde_json::Value =
        serde_json::from_str(&xblade::config::to_json(&crate::sample::serve()).unwrap()).unwrap();
    assert_eq!(get(&fake.path, "/v1/config").json(), expected);
}

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
