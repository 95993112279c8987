//! The commands that query or change a running xblade: one request and one response each,
//! printed for people or as JSON.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Table;

use super::call::{CallError, Client};
use super::json::{self, View};
use super::snapshot::Snapshot;
use super::{print, trace};
use crate::config::{AskCommand, Export, ExportCommand, Listed, Reach};
use crate::wire::aoe::Address;

/// Sends the request and prints the response.
///
/// # Errors
///
/// The exit code; the reason has been printed.
pub fn run(command: &AskCommand) -> Result<(), u8> {
    match command {
        AskCommand::Status(reach) => tell(reach, "/v1/status", print::status),
        AskCommand::Stats(reach) => tell(reach, "/v1/stats", print::stats),
        AskCommand::Trace(options) => trace::run(options),
        AskCommand::Reload { force, reach } => change(reach, "POST", &forced("/v1/reload", *force), None),
        AskCommand::Export(command) => export(command),
        AskCommand::Reservations(Listed { clear: Some(address), reach }) => {
            change(reach, "DELETE", &of(*address, "/reservation"), None)
        }
        AskCommand::Masks(Listed { clear: Some(address), reach }) => {
            change(reach, "DELETE", &of(*address, "/mask"), None)
        }
        AskCommand::Reservations(Listed { clear: None, reach }) => {
            listed(reach, print::reservations, json::RESERVATION)
        }
        AskCommand::Masks(Listed { clear: None, reach }) => listed(reach, print::masks, json::MASK),
    }
}

/// Prints the configuration of a running xblade.
///
/// # Errors
///
/// The exit code; the reason has been printed.
pub fn show(reach: &Reach) -> Result<(), u8> {
    let answer = call(reach, "GET", "/v1/config", None)?;
    if reach.json {
        return put(&text(&answer));
    }
    let table: Table = read(reach, &answer)?;
    put(&toml::to_string(&table).map_err(|error| fail(&error.to_string(), 1))?)
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

fn export(command: &ExportCommand) -> Result<(), u8> {
    match command {
        ExportCommand::Add { export, force, reach } => {
            let forced = *force && !export.split(',').any(|option| option == "force");
            let export = export.clone() + if forced { ",force" } else { "" };
            let export = whole(&export).map_err(|error| fail(&error, 2))?;
            change(reach, "POST", "/v1/exports", Some(to_value(&json::Add { export })))
        }
        ExportCommand::Remove { one, force } => {
            change(&one.reach, "DELETE", &forced(&of(one.address, ""), *force), None)
        }
        ExportCommand::Recover { one, reason } => {
            let body = to_value(&json::Recover { reason: reason.clone() });
            change(&one.reach, "POST", &of(one.address, "/recover"), Some(body))
        }
        ExportCommand::Resize(one) => change(&one.reach, "POST", &of(one.address, "/resize"), None),
        ExportCommand::ReadOnly { one, off } => {
            let body = to_value(&json::ReadOnly { read_only: !off });
            change(&one.reach, "POST", &of(one.address, "/read-only"), Some(body))
        }
    }
}

/// The export with an absolute path, since the daemon runs in another folder.
fn whole(text: &str) -> Result<String, String> {
    let export: Export = text.parse().map_err(|error: crate::store::Problem| error.to_string())?;
    let Some(path) = export.store.path() else { return Ok(text.to_owned()) };
    let path = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let path = path.to_str().ok_or_else(|| format!("{}: is not UTF-8: give another path", path.display()))?;
    if path.contains(',') {
        return Err(format!("{path}: has a comma in it: give a link without one"));
    }
    let options = text.split_once(',').map_or_else(String::new, |(_, options)| format!(",{options}"));
    Ok(format!("{}={path}{options}", export.address))
}

fn of(address: Address, what: &str) -> String {
    format!("/v1/exports/{address}{what}")
}

fn forced(path: &str, force: bool) -> String {
    format!("{path}{}", if force { "?force=true" } else { "" })
}

fn tell<T: DeserializeOwned>(reach: &Reach, path: &str, words: fn(&T) -> String) -> Result<(), u8> {
    let answer = call(reach, "GET", path, None)?;
    if reach.json {
        return put(&text(&answer));
    }
    put(&words(&read(reach, &answer)?))
}

fn listed(reach: &Reach, words: fn(&Snapshot) -> String, fields: json::Fields) -> Result<(), u8> {
    let answer = call(reach, "GET", "/v1/exports", None)?;
    let exports: Snapshot = read(reach, &answer)?;
    if reach.json {
        let all = View(&to_value(&exports.exports), fields);
        return put(&serde_json::to_string(&all).map_err(|error| fail(&error.to_string(), 1))?);
    }
    put(&words(&exports))
}

fn change(reach: &Reach, method: &str, path: &str, body: Option<serde_json::Value>) -> Result<(), u8> {
    let answer = call(reach, method, path, body)?;
    if reach.json {
        return put(&text(&answer));
    }
    put(&print::changed(&read(reach, &answer)?))
}

fn call(reach: &Reach, method: &str, path: &str, body: Option<serde_json::Value>) -> Result<Vec<u8>, u8> {
    let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
    Client::new(&reach.control).call(method, path, body).map_err(failed)
}

fn read<T: DeserializeOwned>(reach: &Reach, answer: &[u8]) -> Result<T, u8> {
    Client::new(&reach.control).parse(answer).map_err(failed)
}

fn to_value(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn text(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).into_owned()
}

/// Write errors are ignored: the reader may have closed the pipe.
fn put(text: &str) -> Result<(), u8> {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    Ok(())
}

/// Prints why a request failed and returns the exit code.
pub(super) fn failed(error: CallError) -> u8 {
    fail(&error.to_string(), error.exit_code())
}

/// Prints an error and returns the exit code.
pub(super) fn fail(error: &str, code: u8) -> u8 {
    let _ = writeln!(std::io::stderr(), "{error}");
    code
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
            assert_eq!(whole(given).unwrap(), expected);
        }
        assert!(whole("0.3").unwrap_err().contains("SHELF.SLOT=PATH"));
    }
}
