//! Every route and its answers.

use crate::fake::Fake;
use crate::http::{ask, get};

#[test]
fn what_there_is_to_know_is_told() {
    let fake = Fake::new();
    let status = get(&fake.path, "/v1/status").json();
    assert_eq!((&status["uptime-seconds"], &status["pid"]), (&3700.into(), &std::process::id().into()));
    assert_eq!(status["interfaces"][0]["mac"], "02:00:00:00:00:03");
    assert_eq!(status["workers"][0]["exports"], serde_json::json!(["0.1", "0.2"]));
    assert_eq!(status["exports"][0]["size-bytes"], 1 << 20);
    assert_eq!(status["exports"][1]["path"], serde_json::Value::Null);
    let stats = get(&fake.path, "/v1/stats").json();
    assert_eq!(stats["interfaces"][0]["counters"]["redirected"], 21);
    assert_eq!(stats["lanes"][0]["counters"]["kernel-rx-dropped"], 5);
    assert_eq!(stats["workers"][0]["counters"]["media-faults"], 3);
    assert_eq!(stats["workers"][0]["drops"]["too-short"], 1);
    assert_eq!(stats["exports"][0]["requests"]["write"]["ok"], 3);
    assert_eq!(stats["exports"][0]["requests"]["write"]["error"], 1);
    assert_eq!(
        (&stats["exports"][0]["bytes-written"], &stats["exports"][0]["folded"]),
        (&1536.into(), &2.into())
    );
    let times = &stats["exports"][0]["service"]["write"];
    assert_eq!(times["count"], 3);
    assert!((19_000..21_000).contains(&times["p50-ns"].as_u64().unwrap()), "{times}");
    assert!((390_000..410_000).contains(&times["p99-9-ns"].as_u64().unwrap()), "{times}");
    let half = stats["exports"][0]["store"]["write"]["max-ns"].as_u64().unwrap();
    assert!((190_000..210_000).contains(&half), "{half}");
}

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
fn refusals_have_a_code_and_a_message() {
    let fake = Fake::new();
    let rows = [
        ("POST", "/v1/exports", r#"{"export": "0.1=/srv/y"}"#, 400, "give another address"),
        ("POST", "/v1/exports", r#"{"export": "#, 400, "not the JSON that is wanted"),
        ("POST", "/v1/exports", "", 400, "not the JSON that is wanted"),
        ("POST", "/v1/exports", "\u{0}\u{1}", 400, "not the JSON that is wanted"),
        ("POST", "/v1/exports", r#"{"address": "0.3", "path": "srv"}"#, 400, "write the whole path"),
        ("POST", "/v1/exports/0.1/read-only", r#"{"read-only": "yes"}"#, 400, "send {\"read-only\": true}"),
        ("DELETE", "/v1/exports/0.9", "", 404, "give 0.1 or 0.2"),
        ("DELETE", "/v1/exports/0.2", "", 409, "repair it"),
        ("GET", "/v1/exports/0.9", "", 404, "0.9: is not exported: give one of those that are: 0.1, 0.2"),
        ("GET", "/v1/exports/0.9/mask", "", 404, "0.9: is not exported"),
        ("GET", "/v1/exports/4095.0", "", 400, "take 0 to 4094"),
        ("GET", "/v1/exports/%ff", "", 400, "UTF-8"),
        ("DELETE", "/v1/exports/x", "", 400, "SHELF.SLOT"),
        ("GET", "/", "", 404, "docs/CONTROL.md"),
        ("GET", "/v1", "", 404, "docs/CONTROL.md"),
        ("GET", "/v2/status", "", 404, "docs/CONTROL.md"),
        ("GET", "/v1/status/", "", 404, "docs/CONTROL.md"),
        ("GET", "/v1/../../etc/passwd", "", 404, "docs/CONTROL.md"),
        ("POST", "/v1/status", "", 405, "/v1/status: does not take POST"),
        ("DELETE", "/v1/exports", "", 405, "does not take DELETE"),
        ("GET", "/v1/reload", "", 405, "does not take GET"),
        ("PUT", "/v1/exports/0.1", "", 405, "does not take PUT"),
        ("BREW", "/v1/exports/0.1", "", 405, "does not take BREW"),
    ];
    for (method, uri, body, status, part) in rows {
        let answer = ask(&fake.path, method, uri, body);
        assert!(
            answer.status == status && answer.error().contains(part),
            "{method} {uri} {body}: {answer:?}"
        );
    }
    assert_eq!(get(&fake.path, "/v1/status").status, 200);
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
