//! The OpenAPI document says what the server answers, and nothing less.

use std::fs;
use std::path::Path;
use std::process::Command;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::fake::Fake;
use crate::http::{ask, get};
use crate::image::Dir;
use crate::process::XBLADE;
use crate::sample;
use crate::trace::Watcher;
use xblade_kit::skipped;

/// The document of the server on this socket.
pub struct Document(Value);

impl Document {
    pub fn of(socket: &Path) -> Self {
        Self(get(socket, "/v1/openapi.json").json())
    }

    /// Every path with its methods.
    pub fn operations(&self) -> Vec<(String, String)> {
        let methods = |path: &Value| path.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let paths = self.0["paths"].as_object().unwrap().iter();
        paths.flat_map(|(path, of)| methods(of).into_iter().map(|method| (method, path.clone()))).collect()
    }

    fn operation(&self, method: &str, path: &str) -> &Value {
        let operation = &self.0["paths"][path][method.to_lowercase()];
        assert!(operation.is_object(), "no {method} {path}");
        operation
    }

    /// The faults of a successful answer, which may have no field that is not described.
    pub fn faults(&self, method: &str, path: &str, answer: &Value) -> Vec<String> {
        let content = &self.operation(method, path)["responses"]["200"]["content"];
        let mut schema = content.as_object().unwrap().values().next().unwrap()["schema"].clone();
        close(&mut schema);
        faults(&schema, answer)
    }

    fn body_faults(&self, method: &str, path: &str, body: &Value) -> Vec<String> {
        let content = &self.operation(method, path)["requestBody"]["content"]["application/json"];
        faults(&content["schema"], body)
    }

    /// Compares what the server on this socket answers to every GET with the document.
    #[track_caller]
    pub fn check_all(&self, socket: &Path, address: &str) {
        for (method, path) in self.operations() {
            if method != "get" || path == "/v1/trace" {
                continue;
            }
            let answer = get(socket, &path.replace("{address}", address)).json();
            let faults = self.faults(&method, &path, &answer);
            assert!(faults.is_empty(), "{path}: {faults:#?}");
        }
    }
}

/// Forbids fields that are not described, except in objects without any description of
/// their fields.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(close);
            let is_flat = map.contains_key("properties") && !map.contains_key("additionalProperties");
            if is_flat {
                map.insert("unevaluatedProperties".to_owned(), json!(false));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        _ => {}
    }
}

fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let validator: Validator = jsonschema::draft202012::new(schema).unwrap();
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn the_answers_are_as_the_document_says() {
    let fake = Fake::new();
    let document = Document::of(&fake.path);
    assert!(document.operations().len() > 15);
    document.check_all(&fake.path, "0.1");
}

#[test]
fn lines_of_a_trace_are_as_the_document_says() {
    let fake = Fake::new();
    let document = Document::of(&fake.path);
    let mut trace = Watcher::new(&fake.path, "");
    for _ in sample::traced() {
        let line = trace.line();
        let faults = document.faults("get", "/v1/trace", &line);
        assert!(faults.is_empty(), "{line}: {faults:#?}");
    }
    assert!(document.faults("get", "/v1/trace", &json!({"missed": 3})).is_empty());
    assert!(!document.faults("get", "/v1/trace", &json!({"lost": 3})).is_empty());
}

#[test]
fn a_field_that_is_not_described_or_missing_is_a_fault() {
    let fake = Fake::new();
    let document = Document::of(&fake.path);
    let mut status = get(&fake.path, "/v1/status").json();
    status["exports"][0]["color"] = "red".into();
    status["pid"] = "12".into();
    status.as_object_mut().unwrap().remove("workers");
    let faults = document.faults("get", "/v1/status", &status);
    assert_eq!(faults.len(), 3, "{faults:#?}");
    for named in ["color", "/pid", "workers"] {
        assert!(faults.iter().any(|fault| fault.contains(named)), "{named}: {faults:#?}");
    }
}

/// Every change, with its path in the document and a body.
#[test]
fn changes_are_as_the_document_says() {
    let fake = Fake::new();
    let document = Document::of(&fake.path);
    let exports = "/v1/exports";
    let rows = [
        ("POST", exports, exports, json!({"address": "0.3", "path": "/srv/y", "read-only": true})),
        ("POST", exports, exports, json!({"export": "0.4=/srv/y,ro"})),
        (
            "POST",
            exports,
            exports,
            json!({
                "address": "0.5", "path": "/srv/y", "offset": 4096, "length": "1MiB", "store": "direct", "sync": "group",
                "allow": ["02:00:00:00:00:01"], "vlan": [20, "untagged"], "interfaces": ["eth1"], "iops": 300,
                "bytes-per-second": "10MB", "burst": 50, "worker": 0, "host-settings": "volatile", "force": true,
            }),
        ),
        (
            "POST",
            exports,
            exports,
            json!({
                "address": "0.6", "path": "/srv/y", "allow": "everybody", "vlan": "any", "iops": "none", "worker": "auto",
            }),
        ),
        ("POST", "/v1/exports/{address}/read-only", "/v1/exports/0.1/read-only", json!({"read-only": true})),
        ("POST", "/v1/exports/{address}/recover", "/v1/exports/0.1/recover", json!({"reason": "checked"})),
    ];
    for (method, path, uri, body) in rows {
        let faults = document.body_faults(method, path, &body);
        assert!(faults.is_empty(), "{uri}: {body}: {faults:#?}");
        let answer = ask(&fake.path, method, uri, &body.to_string());
        assert_eq!(answer.status, 200, "{uri}: {body}: {answer:?}");
        let faults = document.faults(method, path, &answer.json());
        assert!(faults.is_empty(), "{uri}: {faults:#?}");
    }
    // What the server refuses, the document does not allow.
    for body in [
        json!({"export": "0.4=/srv/y", "path": "/srv/z"}),
        json!({"address": "0.3", "path": "/srv/y", "colour": "red"}),
        json!({"address": "0.3", "path": "/srv/y", "read-only": "yes"}),
        json!({"address": "eight", "path": "/srv/y"}),
        json!({"address": "0.3", "path": "/srv/y", "iops": 0}),
        json!({"path": "/srv/y"}),
    ] {
        assert!(!document.body_faults("POST", exports, &body).is_empty(), "{body}");
        assert_eq!(ask(&fake.path, "POST", exports, &body.to_string()).status, 400, "{body}");
    }
}

#[test]
fn the_document_is_openapi() {
    let tools = Path::new(XBLADE).ancestors().nth(2).unwrap().join("tools/python/bin/openapi-spec-validator");
    let check = |path: &Path| Command::new(&tools).arg(path).output();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let Ok(output) = check(&docs) else {
        skipped("the_document_is_openapi", "needs openapi-spec-validator (tests/run.sh installs it)");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let dir = Dir::new();
    let mut broken: Value = serde_json::from_str(&fs::read_to_string(docs).unwrap()).unwrap();
    broken["components"]["parameters"]["address"]["in"] = "nowhere".into();
    let path = dir.path().join("broken.json");
    fs::write(&path, broken.to_string()).unwrap();
    assert!(!check(&path).unwrap().status.success(), "the validator accepts anything");
}

#[test]
fn the_document_in_docs_is_this_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let fake = Fake::new();
    let now = get(&fake.path, "/v1/openapi.json").body;
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == now, "docs/openapi.json is not that of this build: UPDATE_GOLDENS=1 writes it");
}
