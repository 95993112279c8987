//! Writes a configuration as a file, with every default filled in.

use toml::{Table, Value};

use super::export::{ANY_VLAN, UNTAGGED_VLAN};
use super::file::{ROWS, hosts};
use super::{Export, ExportLimits, HostLimit, Limit, Serve};
use crate::store::{AUTO, NONE, OPTIONS, Opt, Options, SECTOR_BYTES, Value as Given, exactly, rate};
use crate::wire::aoe::Address;
use crate::wire::vlan::{UNTAGGED, Vlans};

/// The configuration as the text of a configuration file.
///
/// # Errors
///
/// If a path is not UTF-8, since a file cannot contain it.
pub fn to_toml(serve: &Serve) -> Result<String, toml::ser::Error> {
    toml::to_string(&to_table(serve))
}

/// The configuration as JSON.
///
/// # Errors
///
/// No known case.
pub fn to_json(serve: &Serve) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(&to_table(serve))
}

/// The configuration as a TOML table.
pub fn to_table(serve: &Serve) -> Table {
    let mut table = Table::new();
    for row in ROWS {
        let Some(value) = (row.show)(serve) else { continue };
        let name = row.section.trim_matches(['[', ']']);
        let place = match name {
            "" => &mut table,
            _ => match table.entry(name).or_insert_with(|| Table::new().into()) {
                Value::Table(section) => section,
                _ => continue,
            },
        };
        place.insert(row.name.to_owned(), value);
    }
    table.insert("export".to_owned(), serve.exports.iter().map(export).collect::<Vec<Value>>().into());
    if !serve.host_limits.is_empty() {
        let limits: Vec<Value> = serve.host_limits.iter().map(host_limit).collect();
        table.insert("host-limit".to_owned(), limits.into());
    }
    table
}

fn export(export: &Export) -> Value {
    let engine = export.store.engine();
    let mut rows = vec![("address", Value::from(export.address.to_string()))];
    rows.push(match export.store.path() {
        Some(path) => ("path", path.to_string_lossy().into_owned().into()),
        None => ("store", engine.name.into()),
    });
    let is_shown =
        |option: &&Opt| option.is_shown_with(engine) && (option.key != "store" || engine.access.is_some());
    rows.extend(
        OPTIONS.iter().filter(is_shown).map(|option| (option.key, setting(option, export.store.options()))),
    );
    if let Some(macs) = &export.allow {
        rows.push(("allow", hosts(macs)));
    }
    if let Some(settings) = export.host_settings {
        rows.push(("host-settings", settings.word().into()));
    }
    rows.push(("vlan", vlans(&export.vlans)));
    if !export.interfaces.is_empty() {
        rows.push(("interfaces", export.interfaces.clone().into()));
    }
    let ExportLimits { all_hosts, each_host, burst_ms } = &export.limits;
    rows.extend(limit(all_hosts, ["iops", "bytes-per-second"]));
    rows.extend(limit(each_host, ["host-iops", "host-bytes-per-second"]));
    if !export.limits.is_none() {
        rows.push(("burst", i64::from(*burst_ms).into()));
    }
    rows.push(("worker", export.worker.map_or(AUTO.into(), |worker| i64::from(worker).into())));
    rows.push(("force", export.force.into()));
    rows.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Table>().into()
}

fn host_limit(of: &HostLimit) -> Value {
    let mut rows = vec![("hosts", hosts(&of.hosts))];
    if !of.exports.is_empty() {
        rows.push(("exports", of.exports.iter().map(Address::to_string).collect::<Vec<_>>().into()));
    }
    rows.extend(limit(&of.limit, ["iops", "bytes-per-second"]));
    rows.push(("burst", i64::from(of.burst_ms).into()));
    rows.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Table>().into()
}

fn limit(limit: &Limit, [iops, bytes]: [&'static str; 2]) -> [(&'static str, Value); 2] {
    let value = |limit: Option<Value>| limit.unwrap_or_else(|| NONE.into());
    [
        (iops, value(limit.iops.map(|iops| i64::from(iops).into()))),
        (bytes, value(limit.bytes_per_second.map(|bytes| rate(bytes).into()))),
    ]
}

/// The VLANs, in the shortest form.
fn vlans(vlans: &Vlans) -> Value {
    let one = |id| if id == UNTAGGED { UNTAGGED_VLAN.into() } else { Value::from(i64::from(id)) };
    let mut all: Vec<Value> = vlans.ids().map(one).collect();
    match vlans {
        Vlans::Any => ANY_VLAN.into(),
        _ if all.len() == 1 => all.remove(0),
        _ => all.into(),
    }
}

/// The value of an option, or its default: also if it has no meaning beside the others, as
/// when an export was made read-only while it was served.
fn setting(option: &'static Opt, options: &Options) -> Value {
    let given = options.get(option.key).filter(|value| options.conflict(option, *value).is_none());
    match given {
        Some(Given::Yes) => true.into(),
        Some(Given::Bytes(bytes)) => size(bytes),
        Some(Given::Rate(bytes)) => rate(bytes).into(),
        Some(Given::Word(word)) => word.into(),
        Some(Given::Number(number)) => i64::from(number).into(),
        None => match option.default {
            "false" => false.into(),
            "0" => 0.into(),
            word => word.into(),
        },
    }
}

/// A size in the largest unit of which it is a multiple, else in sectors.
fn size(bytes: u64) -> Value {
    exactly(bytes).map_or_else(|| Value::Integer((bytes / SECTOR_BYTES) as i64), Value::from)
}
