//! `[[host-limit]]`: limits of certain hosts over several exports.

use std::collections::BTreeSet;

use super::acl::Acls;
use super::diagnostic::{Diagnostic, Span};
use super::export::{address_of, value};
use super::item::{Item, Section, twice};
use crate::config::bounds::{EXPORTS_MAX, HOST_LIMITS_MAX, HOSTS_MAX};
use crate::config::export::{Given, options};
use crate::config::limit::{ExportLimits, HostLimit, OF_HOSTS};
use crate::wire::aoe::Address;

/// Reads all of the file. One with errors is left out.
pub fn host_limits<'a>(item: Item<'a>, acls: &mut Acls<'a>) -> Vec<HostLimit> {
    let Some(list) = item.sections("hosts and a rate") else { return Vec::new() };
    if list.len() > HOST_LIMITS_MAX {
        let what = format!("{} sections [[host-limit]] are more than {HOST_LIMITS_MAX}", list.len());
        item.fault(what, "name hosts with the same limit in one, or give exports host-iops");
        return Vec::new();
    }
    let mut total = 0;
    list.into_iter()
        .filter_map(|one| one.section("[[host-limit]]"))
        .filter_map(|section| host_limit(section, acls, &mut total))
        .collect()
}

/// Reads one. `total` is the number of hosts of those before.
fn host_limit<'a>(mut section: Section<'a>, acls: &mut Acls<'a>, total: &mut usize) -> Option<HostLimit> {
    let (header, sink) = (section.at.clone(), section.sink);
    let before = sink.count();
    let remedy =
        "add hosts = [\"52:54:00:00:00:01\"], or give exports host-iops, which limits every host there";
    let item = section.need("hosts", header.clone(), "this host-limit names no hosts", remedy);
    let hosts = item.and_then(|item| {
        let hosts =
            acls.named(item, "give exports host-iops or host-bytes-per-second, which limit every host")?;
        *total += hosts.len();
        if *total > HOSTS_MAX {
            let what = format!("with this list, {total} hosts have limits, and the most is {HOSTS_MAX}");
            return item.refuse(what, "name fewer, or give exports host-iops, which limits every host there");
        }
        Some(hosts)
    });
    let exports = section.take("exports").map(exports).unwrap_or_default();
    let mut given = Given::default();
    for option in options().filter(|option| OF_HOSTS.contains(&option.key)) {
        let Some(item) = section.take(option.key) else { continue };
        if let Some(value) = value(option, item) {
            // Each key is there once.
            let _ = given.set(option, value);
        }
    }
    let is_good = sink.count() == before;
    section.finish();
    let limits = ExportLimits::take(&mut given.options).unwrap_or_default();
    if limits.is_none() && is_good {
        let (what, remedy) =
            ("this host-limit limits nothing", "add iops = 1000 or bytes-per-second = \"50MiB\"");
        sink.push(Diagnostic::missing(header, what, remedy));
    }
    let limit = Some(limits.all_hosts).filter(|limit| is_good && !limit.is_none())?;
    Some(HostLimit { hosts: hosts?, exports, limit, burst_ms: limits.burst_ms })
}

/// The addresses of exports, which need not be configured: they may be added later.
fn exports(item: Item<'_>) -> Vec<Address> {
    let Some(list) = item.list("[\"0.1\"]") else { return Vec::new() };
    if list.is_empty() {
        item.fault("exports names no export", "name some, or leave it out: then all count");
    }
    if list.len() > EXPORTS_MAX {
        let what = format!("{} exports are more than xblade serves, {EXPORTS_MAX}", list.len());
        item.fault(what, "leave exports out: then all count");
        return Vec::new();
    }
    let all: Vec<(Address, Span)> = list.into_iter().filter_map(address_of).collect();
    let message = |address: &Address| format!("{address} is named twice");
    twice(&all, |address| *address, |_, _| true, message, "name it once", item.sink);
    all.into_iter().map(|(address, _)| address).collect::<BTreeSet<_>>().into_iter().collect()
}
