//! The JSON documents of the API. docs/CONTROL.md describes every field; a test compares
//! the two.
//!
//! What a client reads is a view of the snapshot: some of its fields, in this order.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// A field, and those of its value to show: all if empty.
#[derive(Debug)]
pub struct Field(pub(super) &'static str, pub(super) Fields);

/// Fields in the order in which they are written.
pub type Fields = &'static [Field];

macro_rules! fields {
    (of) => { &[] };
    (of $inner:expr) => { $inner };
    ($($name:literal $(=> $inner:expr)?),* $(,)?) => { &[$(Field($name, fields!(of $($inner)?))),*] };
}

/// Stands for every field.
pub(super) const EACH: &str = "*";

/// `GET /v1/status`.
pub const STATUS: Fields = fields![
    "version", "pid", "uptime-seconds",
    "interfaces" => fields!["name", "mac", "mtu", "queues", "driver", "up", "carrier", "present", "mode", "zero-copy",
        "warning"],
    "workers" => fields!["worker", "lanes", "exports"],
    "exports" => fields![
        "address", "path", "size-bytes", "way", "read-only", "durability", "degraded", "stuck", "replaced",
        "in-flight", "waiting", "limits", "host-settings", "changes" => CHANGES,
    ],
    "host-limits",
    "refused" => fields!["address", "path", "reason"],
];

/// `GET /v1/exports/0.1`.
pub const EXPORT: Fields = fields![
    "address",
    "path",
    "size-bytes",
    "way",
    "read-only",
    "durability",
    "degraded",
    "stuck",
    "replaced",
    "in-flight",
    "waiting",
    "limits",
    "worker",
    "physical-bytes",
    "block-bytes",
    "trim",
    "config-text",
    "config-hex",
    "mask",
    "reservation",
    "host-settings",
    "changes" => CHANGES,
];

const CHANGES: Fields = fields!["*" => fields![
    "changed", "changed-by", "changed-at", "refused", "refused-by", "refused-at",
]];

/// `GET /v1/exports`.
pub const EXPORTS: Fields = fields!["exports" => EXPORT];

/// `GET /v1/exports/0.1/config`.
pub const CONFIG: Fields = fields!["address", "config-text", "config-hex"];

/// `GET /v1/exports/0.1/reservation`.
pub const RESERVATION: Fields = fields!["address", "reservation"];

/// `GET /v1/exports/0.1/mask`.
pub const MASK: Fields = fields!["address", "mask"];

/// `GET /v1/stats`.
pub const STATS: Fields = fields![
    "uptime-seconds",
    "interfaces" => fields!["name", "counters"],
    "lanes" => fields!["name", "worker", "counters"],
    "workers" => fields!["worker", "counters", "drops"],
    "exports" => fields![
        "address", "requests", "bytes-read", "bytes-written", "waited", "folded", "repeated", "limited", "limited-ns",
        "response" => TIMES, "service" => TIMES, "store" => TIMES,
    ],
];

const TIMES: Fields = fields!["*" => fields!["count", "p50-ns", "p90-ns", "p99-ns", "p99-9-ns", "max-ns"]];

/// Some fields of a value, to be written as JSON; of a list, those of each element.
#[derive(Debug)]
pub struct View<'a>(pub &'a Value, pub Fields);

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self(value, fields) = self;
        match (value, fields) {
            (Value::Array(list), _) => to.collect_seq(list.iter().map(|one| View(one, fields))),
            (Value::Object(map), [Field(EACH, inner)]) => {
                to.collect_map(map.iter().map(|(name, one)| (name, View(one, inner))))
            }
            (Value::Object(map), [_, ..]) => {
                let shown = |Field(name, inner): &'static Field| Some((name, View(map.get(*name)?, inner)));
                to.collect_map(fields.iter().filter_map(shown))
            }
            (value, _) => value.serialize(to),
        }
    }
}
