//! The commands that query or change a running xblade: one request and one response each,
//! printed for people or as JSON.

use std::error::Error as _;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use toml::Table;

use super::call::{CallError, Client};
use super::json::{CONFIG, Fields, MASK, RESERVATION, View};
use super::snapshot::Snapshot;
use super::{print, trace};
use crate::config::{AskCommand, Export, ExportCommand, Listed, Reach};
use crate::store::{Handed, OpenError, OpenErrorKind, Problem};
use crate::wire::aoe::Address;

/// Sends the request and prints the response.
///
/// # Errors
///
/// See [`CallError`].
pub fn run(command: &AskCommand) -> Result<(), CallError> {
    match command {
        AskCommand::Status(reach) => ask(reach, "GET", "/v1/status", Value::Null, print::status),
        AskCommand::Stats(reach) => ask(reach, "GET", "/v1/stats", Value::Null, print::stats),
        AskCommand::Trace(options) => trace::run(options),
        AskCommand::Reload { force, dry_run, reach } => {
            let path = with_flags("/v1/reload", &[("force", *force), ("dry-run", *dry_run)]);
            change(reach, "POST", &path, Value::Null)
        }
        AskCommand::Export(command) => export(command),
        AskCommand::ConfigStrings(listed) => list(listed, "/config", CONFIG, print::config_strings),
        AskCommand::Reservations(listed) => list(listed, "/reservation", RESERVATION, print::reservations),
        AskCommand::Masks(listed) => list(listed, "/mask", MASK, print::masks),
    }
}

/// Prints the configuration of a running xblade.
///
/// # Errors
///
/// See [`CallError`].
pub fn show(reach: &Reach) -> Result<(), CallError> {
    let words = |table: &Table| toml::to_string(table).unwrap_or_else(|error| error.to_string());
    ask(reach, "GET", "/v1/config", Value::Null, words)
}

/// The address of the metrics listener of the xblade on this socket; `None` if it has
/// none or does not answer.
pub fn metrics_of(control: &Path) -> Option<SocketAddr> {
    let config: Table = Client::new(control).get("/v1/config").ok()?;
    config.get("service")?.get("metrics")?.as_str()?.parse().ok()
}

/// The exports, as address and path, of the xblade on this socket whose paths no longer
/// lead to the files that it serves.
pub fn replaced_in(control: &Path) -> Vec<(String, String)> {
    let status: Snapshot = Client::new(control).get("/v1/status").unwrap_or_default();
    let replaced = status.exports.into_iter().filter(|export| export.replaced);
    replaced.map(|export| (export.address, export.path.unwrap_or_default())).collect()
}

fn export(command: &ExportCommand) -> Result<(), CallError> {
    match command {
        ExportCommand::Add { export, force, reach } => {
            let forced = *force && !export.split(',').any(|option| option == "force");
            let export = export.clone() + if forced { ",force" } else { "" };
            let (export, text) = whole(&export).map_err(|error| CallError::new(2, error))?;
            // The daemon uses what the caller may open.
            let file = export.store.file().map(|options| Handed::open(&options)).transpose();
            let file = file.map_err(cannot_open)?;
            let descriptors = file.as_ref().map(Handed::descriptors).unwrap_or_default();
            let body = json!({ "export": text }).to_string();
            let client = Client::new(&reach.control);
            let answer = client.call_with(&descriptors, "POST", "/v1/exports", &body)?;
            show_answer(reach, &client, &answer, print::changed)
        }
        ExportCommand::Remove { one, force } => {
            change(&one.reach, "DELETE", &forced(&of(one.address, ""), *force), Value::Null)
        }
        ExportCommand::Recover { one, reason } => {
            change(&one.reach, "POST", &of(one.address, "/recover"), json!({ "reason": reason }))
        }
        ExportCommand::Resize(one) => change(&one.reach, "POST", &of(one.address, "/resize"), Value::Null),
        ExportCommand::ReadOnly { one, off } => {
            change(&one.reach, "POST", &of(one.address, "/read-only"), json!({ "read-only": !off }))
        }
    }
}

/// The error of a file that the caller cannot open, as xblade reports its own.
fn cannot_open(error: OpenError) -> CallError {
    let exit_code = if matches!(error.kind, OpenErrorKind::Option) { 2 } else { 3 };
    let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
    CallError::new(exit_code, format!("{error}{cause}"))
}

/// The export, and its text with an absolute path, since the daemon runs in another folder.
fn whole(text: &str) -> Result<(Export, String), String> {
    let mut export: Export = text.parse().map_err(|error: Problem| error.to_string())?;
    let Some(path) = export.store.path() else { return Ok((export, text.to_owned())) };
    let path = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let path = path.to_str().ok_or_else(|| format!("{}: is not UTF-8: give another path", path.display()))?;
    if path.contains(',') {
        return Err(format!("{path}: has a comma in it: give a link without one"));
    }
    let options = text.split_once(',').map_or_else(String::new, |(_, options)| format!(",{options}"));
    let text = format!("{}={path}{options}", export.address);
    export.store.make_absolute();
    Ok((export, text))
}

fn of(address: Address, what: &str) -> String {
    format!("/v1/exports/{address}{what}")
}

fn forced(path: &str, force: bool) -> String {
    with_flags(path, &[("force", force)])
}

fn with_flags(path: &str, flags: &[(&str, bool)]) -> String {
    let given = flags.iter().filter(|(_, given)| *given).map(|(name, _)| format!("{name}=true"));
    let query = given.collect::<Vec<_>>().join("&");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

fn list(
    Listed { clear, refuse, reach }: &Listed,
    what: &str,
    fields: Fields,
    words: fn(&Snapshot) -> String,
) -> Result<(), CallError> {
    if let Some(address) = clear {
        let path = with_flags(&of(*address, what), &[("refuse", *refuse)]);
        return change(reach, "DELETE", &path, Value::Null);
    }
    let exports: Snapshot = Client::new(&reach.control).get("/v1/exports")?;
    let to_value = |exports| serde_json::to_value(exports).unwrap_or_default();
    let json = || serde_json::to_string(&View(&to_value(&exports.exports), fields)).unwrap_or_default();
    put(&if reach.json { json() } else { words(&exports) });
    Ok(())
}

fn change(reach: &Reach, method: &str, path: &str, body: Value) -> Result<(), CallError> {
    ask(reach, method, path, body, print::changed)
}

/// Sends a request, without a body if that is null, and prints the answer.
fn ask<T: DeserializeOwned>(
    reach: &Reach,
    method: &str,
    path: &str,
    body: Value,
    words: impl FnOnce(&T) -> String,
) -> Result<(), CallError> {
    let client = Client::new(&reach.control);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = client.call(method, path, &body)?;
    show_answer(reach, &client, &answer, words)
}

fn show_answer<T: DeserializeOwned>(
    reach: &Reach,
    client: &Client<'_>,
    answer: &[u8],
    words: impl FnOnce(&T) -> String,
) -> Result<(), CallError> {
    put(&if reach.json {
        String::from_utf8_lossy(answer).into_owned()
    } else {
        words(&client.parse(answer)?)
    });
    Ok(())
}

/// Write errors are ignored: the reader may have closed the pipe.
fn put(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_export_is_made_whole() {
        let here = std::env::current_dir().unwrap();
        let rows = [
            ("0.3=/srv/x", "0.3=/srv/x".to_owned()),
            ("0.3=x,ro,offset=8", format!("0.3={}/x,ro,offset=8", here.display())),
            ("0.3=a=b", format!("0.3={}/a=b", here.display())),
            ("0.3=x,store=null,length=8", "0.3=x,store=null,length=8".to_owned()),
        ];
        for (given, expected) in rows {
            let (export, text) = whole(given).unwrap();
            assert_eq!(text, expected);
            assert!(export.store.path().is_none_or(|path| path.is_absolute()), "{given}");
        }
        assert!(whole("0.3").unwrap_err().contains("SHELF.SLOT=PATH"));
    }
}
