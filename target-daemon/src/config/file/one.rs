//! A single export, as sent to a running daemon.

use std::fs;

use toml::de::DeTable;
use toml::{Table, Value};

use super::acl::{self, Acls};
use super::diagnostic::Collector;
use super::item::Section;
use super::{ETHERS, export, keys};
use crate::config::Export;

/// Parses an export from the keys of `[[export]]`. Names in `allow` are looked up in
/// /etc/ethers.
///
/// # Errors
///
/// All errors, in one line.
pub fn export_from(keys: &Table) -> Result<Export, String> {
    let mut whole = Table::new();
    whole.insert("export".to_owned(), Value::Array(vec![Value::Table(keys.clone())]));
    let text = toml::to_string(&whole).map_err(|error| error.to_string())?;
    let (root, _) = DeTable::parse_recoverable(&text);
    let sink = Collector::default();
    let ethers = acl::ethers(&fs::read_to_string(ETHERS).unwrap_or_default());
    let mut acls = Acls::read(None, &ethers);
    let mut top = Section::new("", keys::of(""), root.get_ref(), 0..0, &sink);
    let drafts = top.take("export").map(|item| export::exports(item, &mut acls)).unwrap_or_default();
    let export = drafts.into_iter().next().and_then(export::Draft::finish);
    let faults: Vec<String> =
        sink.into_inner().into_iter().map(|fault| format!("{}: {}", fault.message, fault.remedy)).collect();
    match export {
        Some((export, _)) if faults.is_empty() => Ok(export),
        _ => Err(faults.join("; ")),
    }
}
