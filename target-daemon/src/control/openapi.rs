//! The operations of the API, and their OpenAPI document.
//!
//! An [`Operation`] is one row of the table in [`super::routes`]: it has the handler and
//! what the document says of it. The schemas of answers come from the types that are
//! serialised, those of an export in a request from the options' tables.

use axum::routing::MethodRouter;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::json::{EACH, Field, Fields};
use super::request::ChangeReport;
use super::snapshot::{Export, Snapshot};
use super::trace::Line;
use crate::config::{EVERYBODY, options};
use crate::store::{Opt, Takes};

/// The version of OpenAPI that the document has.
const OPENAPI: &str = "3.1.0";

/// What the document says of the whole API.
const DESCRIPTION: &str = "HTTP on a unix socket, /run/xblade/xblade.sock if not configured otherwise. docs/CONTROL.md \
                           explains it. Within /v1, fields may be added; ignore those that you do not know.";

/// A method of a path.
pub(super) struct Operation<S> {
    pub method: &'static str,
    pub path: &'static str,
    pub summary: &'static str,
    /// The query parameters.
    pub query: &'static [Parameter],
    pub body: Option<Body>,
    pub answer: Answer,
    pub handler: MethodRouter<S>,
}

impl<S> Operation<S> {
    /// One that reads.
    pub fn get(path: &'static str, summary: &'static str, answer: Answer, handler: MethodRouter<S>) -> Self {
        Self { method: "get", path, summary, query: &[], body: None, answer, handler }
    }

    /// One that changes something.
    pub fn change(
        method: &'static str,
        path: &'static str,
        summary: &'static str,
        handler: MethodRouter<S>,
    ) -> Self {
        Self { method, ..Self::get(path, summary, Answer::Changed, handler) }
    }

    /// With query parameters.
    pub fn query(self, query: &'static [Parameter]) -> Self {
        Self { query, ..self }
    }

    /// With a body.
    pub fn body(self, body: Body) -> Self {
        Self { body: Some(body), ..self }
    }
}

/// A query parameter: its name, its type, and what it does.
pub(super) struct Parameter(pub &'static str, pub Kind, pub &'static str);

/// The type of a query parameter.
pub(super) enum Kind {
    Flag,
    Number,
    Address,
}

/// What a request has as its body.
pub(super) enum Body {
    Export,
    ReadOnly,
    Reason,
}

/// What a successful answer is.
pub(super) enum Answer {
    /// These fields of the snapshot.
    Snapshot(Fields),
    /// These fields of one export.
    Export(Fields),
    Samples,
    Configuration,
    Changed,
    Trace,
    /// The document.
    OpenApi,
}

/// The document of these operations.
pub(super) fn document<S>(operations: &[Operation<S>]) -> Value {
    let mut paths = Map::new();
    for operation in operations {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described(operation);
    }
    json!({
        "openapi": OPENAPI,
        "info": {
            "title": "xblade",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "http://xblade", "description": "curl --unix-socket /run/xblade/xblade.sock"}],
        "paths": paths,
        "components": {
            "parameters": {"address": {
                "name": "address",
                "in": "path",
                "required": true,
                "description": "The AoE address of an export, SHELF.SLOT.",
                "schema": address(),
            }},
            "responses": {"Error": {
                "description": "Nothing was done. 400: impossible request. 403: the caller may only look. 404: no such \
                                export. 408, 413, 431: request too slow or too large. 409: this machine has to change \
                                first. 503: overloaded or exiting: retry.",
                "content": {"application/json": {"schema": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string", "description": "The problem and its remedy."}},
                }}},
            }},
        },
    })
}

fn described<S>(operation: &Operation<S>) -> Value {
    let at = operation.path.contains("{address}").then(|| json!({"$ref": "#/components/parameters/address"}));
    let parameters: Vec<Value> = at.into_iter().chain(operation.query.iter().map(parameter)).collect();
    let (media, schema) = answer(&operation.answer);
    let mut described = json!({
        "operationId": name(operation),
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", "content": {media: {"schema": schema}}},
            "default": {"$ref": "#/components/responses/Error"},
        },
    });
    if let Some(of) = &operation.body {
        described["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": body(of)}}});
    }
    described
}

/// A name for generated clients: the method and the path without its parameters.
fn name<S>(operation: &Operation<S>) -> String {
    let words = operation.path.split('/').skip(2).map(|word| match word {
        "{address}" => "one".to_owned(),
        word => word.replace('.', "-"),
    });
    let words: Vec<String> = std::iter::once(operation.method.to_owned()).chain(words).collect();
    words.join("-")
}

fn parameter(Parameter(name, kind, does): &Parameter) -> Value {
    let schema = match kind {
        Kind::Flag => json!({"type": "boolean", "default": false}),
        Kind::Number => json!({"type": "integer", "minimum": 1}),
        Kind::Address => address(),
    };
    json!({"name": name, "in": "query", "description": does, "schema": schema})
}

fn address() -> Value {
    json!({"type": "string", "pattern": r"^[0-9]{1,5}\.[0-9]{1,3}$"})
}

fn answer(answer: &Answer) -> (&'static str, Value) {
    let json = "application/json";
    match answer {
        Answer::Snapshot(fields) => (json, view(schema::<Snapshot>(), fields)),
        Answer::Export(fields) => (json, view(schema::<Export>(), fields)),
        Answer::Samples => (json, json!({"type": "object", "description": "Not stable between versions."})),
        Answer::Configuration => {
            (json, json!({"type": "object", "description": "Sections and keys of docs/CONFIGURATION.md."}))
        }
        Answer::Changed => (json, schema::<ChangeReport>()),
        Answer::Trace => ("application/x-ndjson", schema::<Line>()),
        Answer::OpenApi => (json, json!({"type": "object", "description": "This document."})),
    }
}

/// The schema of a type as serialised, complete in itself.
fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|all| {
        all.inline_subschemas = true;
        all.meta_schema = None;
    });
    let mut schema: Schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    schema.into()
}

/// The schema of these fields of a value, as [`super::json::View`] writes them.
fn view(mut of: Value, fields: Fields) -> Value {
    if let Some(items) = of.get_mut("items") {
        *items = view(items.take(), fields);
        return of;
    }
    match fields {
        [] => of,
        [Field(EACH, inner)] => {
            if let Some(each) = of.get_mut("additionalProperties") {
                *each = view(each.take(), inner);
            }
            of
        }
        fields => {
            let all = of.get_mut("properties").map(Value::take).unwrap_or_default();
            let shown =
                |Field(name, inner): &Field| Some(((*name).to_owned(), view(all.get(name)?.clone(), inner)));
            let properties: Map<String, Value> = fields.iter().filter_map(shown).collect();
            of["required"] = properties.keys().cloned().collect();
            of["properties"] = properties.into();
            of
        }
    }
}

fn body(body: &Body) -> Value {
    match body {
        Body::Export => json!({"oneOf": [export(), only("export", json!({
            "type": "string",
            "description": "SHELF.SLOT=PATH[,OPTION...], as for `xblade serve`.",
            "examples": ["0.3=/srv/x.img,ro"],
        }))]}),
        Body::ReadOnly => {
            only("read-only", json!({"type": "boolean", "description": "Whether to refuse writes."}))
        }
        Body::Reason => {
            only("reason", json!({"type": "string", "description": "Why it is safe; for the log."}))
        }
    }
}

/// An object with just this property.
fn only(name: &str, property: Value) -> Value {
    json!({"type": "object", "required": [name], "additionalProperties": false, "properties": {name: property}})
}

/// The keys of an export.
fn export() -> Value {
    let mut properties = Map::new();
    properties.insert("address".to_owned(), address());
    let path = json!({"type": "string", "description": "Its file or device, from the root."});
    properties.insert("path".to_owned(), path);
    properties.extend(options().map(|option| (option.key.to_owned(), value_of(option))));
    json!({"type": "object", "required": ["address"], "additionalProperties": false, "properties": properties})
}

/// What an option takes. Words such as `auto` stand beside numbers where they are the default.
fn value_of(option: &Opt) -> Value {
    let or_default = |other: Value| match option.default.parse::<u64>() {
        Err(_) if !option.default.is_empty() => json!({"anyOf": [other, {"const": option.default}]}),
        _ => other,
    };
    let size = json!({"type": ["integer", "string"], "minimum": 0, "examples": ["10GiB"]});
    let list = |of: Value| json!({"type": "array", "items": of});
    let mut value = match option.takes {
        Takes::Flag => json!({"type": "boolean"}),
        Takes::Bytes { .. } | Takes::Rate => or_default(size),
        Takes::Words(_) | Takes::Store => json!({"enum": option.words()}),
        Takes::Number { min, max } => or_default(json!({"type": "integer", "minimum": min, "maximum": max})),
        Takes::Hosts => json!({"anyOf": [list(json!({"type": "string"})), {"const": EVERYBODY}]}),
        Takes::Vlans => json!({"type": ["integer", "string", "array"]}),
        Takes::Interfaces => list(json!({"type": "string"})),
    };
    value["description"] = option.help().into();
    value
}
