//! `[service]`.

use std::path::Path;

use super::diagnostic::Span;
use super::item::{Item, Section};
use crate::config::{AddrOrNone, PathOrNone, ServiceOptions};

/// Reads the section, if it is there. Returns where the address for metrics stands.
pub fn read(
    top: &mut Section<'_>,
    keys: &'static [&'static str],
    service: &mut ServiceOptions,
) -> Option<Span> {
    let mut section = top.take("service").and_then(|item| item.section("[service]", keys))?;
    let mut metrics = None;
    if let Some(at) = section.take("control").and_then(|item| path(item, "\"/run/xblade/xblade.sock\"")) {
        service.control = at;
    }
    service.control_group =
        section.take("control-group").and_then(|item| item.text("\"xblade\"")).map(str::to_owned);
    if let Some(item) = section.take("metrics") {
        metrics = Some(item.at());
        if let Some(at) = address(item) {
            service.metrics = at;
        }
    }
    if let Some(at) = section.take("state").and_then(|item| path(item, "\"/var/lib/xblade\"")) {
        service.state = at;
    }
    if let Some(sandbox) = section.take("sandbox").and_then(|item| item.word()) {
        service.sandbox = sandbox;
    }
    for one in section.take("folders").and_then(|item| item.list("[\"/srv\"]")).unwrap_or_default() {
        service.folders.extend(path(one, "\"/srv\"").and_then(|folder| folder.0));
    }
    section.finish();
    metrics
}

fn path(item: Item<'_>, example: &str) -> Option<PathOrNone> {
    let PathOrNone(path) = item.text(example)?.parse().ok()?;
    match path {
        Some(path) if !Path::new(&path).is_absolute() => {
            item.impossible("write the whole path: a service starts in no directory of its own")
        }
        path => Some(PathOrNone(path)),
    }
}

fn address(item: Item<'_>) -> Option<AddrOrNone> {
    let text = item.text("\"127.0.0.1:9464\"")?;
    text.parse().map_or_else(
        |_| item.impossible("give an address and a port, as \"127.0.0.1:9464\", or \"none\""),
        Some,
    )
}
