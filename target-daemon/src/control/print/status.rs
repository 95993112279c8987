//! `xblade status`.

use super::table::Table;
use super::{duration, size};
use crate::control::snapshot::{Changes, Export, Interface, Refused, Snapshot};
use crate::shelf::HostSetting;
use crate::store;
use crate::text::printable;

/// Interfaces, workers and exports with their state.
pub fn status(status: &Snapshot) -> String {
    let Snapshot { version, pid, uptime_seconds, .. } = status;
    let head = format!("xblade {version}, process {pid}, up {}", duration(*uptime_seconds));
    format!("{head}\n\n{}\n{}\n{}", interfaces(status), workers(status), exports(status))
}

fn interfaces(status: &Snapshot) -> String {
    let mut table = Table::new(["INTERFACE", "LINK", "MAC", ">MTU", ">QUEUES", "DRIVER", "XDP"]);
    for one in &status.interfaces {
        let mode = if one.zero_copy { "zero-copy" } else { &one.mode };
        table.row([&one.name, &link(one), &one.mac, &one.mtu, &one.queues, &one.driver, &mode]);
    }
    let warning = |one: &Interface| Some(format!("\n{}: {}\n", one.name, one.warning.as_ref()?));
    table.to_string() + &status.interfaces.iter().filter_map(warning).collect::<String>()
}

fn link(interface: &Interface) -> &'static str {
    match interface {
        Interface { present: false, .. } => "gone",
        Interface { up: false, .. } => "down",
        Interface { carrier: false, .. } => "no carrier",
        _ => "up",
    }
}

fn workers(status: &Snapshot) -> String {
    let mut table = Table::new([">WORKER", ">LANES", "EXPORTS"]);
    for one in &status.workers {
        table.row([&one.worker, &one.lanes.len(), &one.exports.join(" ")]);
    }
    table.to_string()
}

fn exports(status: &Snapshot) -> String {
    if status.exports.is_empty() && status.refused.is_empty() {
        return "nothing is exported\n".to_owned();
    }
    let mut table = Table::new(["EXPORT", "STATE", ">SIZE", "WRITES", ">IN FLIGHT", "PATH", "REACHED"]);
    for one in &status.exports {
        let (size, path) = (size(one.size_bytes), one.path.as_deref().unwrap_or("-"));
        let writes = if one.read_only { "refused" } else { &one.durability };
        table.row([&one.address, &state(one), &size, &writes, &one.in_flight, &path, &one.way]);
    }
    for Refused { address, path, .. } in &status.refused {
        table.row([address, &"not served", &"-", &"-", &"-", &path.as_deref().unwrap_or("-"), &"-"]);
    }
    let reasons =
        status.refused.iter().map(|refused| format!("\nnot served: {}\n", printable(&refused.reason)));
    let (limits, changes) = (limits(status), changes(&status.exports));
    table.to_string() + &reasons.collect::<String>() + &limits + &changes
}

/// The limits of exports, and those of certain hosts.
fn limits(status: &Snapshot) -> String {
    let mut exports = Table::new(["EXPORT", "LIMIT OF ALL HOSTS", "OF EACH HOST", ">WAITING"]);
    for Export { address, limits, waiting, .. } in &status.exports {
        let all = rate(limits.iops, limits.bytes_per_second);
        let each = rate(limits.host_iops, limits.host_bytes_per_second);
        if *waiting > 0 || limits.burst_ms.is_some() {
            exports.row([address, &all, &each, waiting]);
        }
    }
    let mut hosts = Table::new(["LIMITED HOSTS", "EXPORTS", "LIMIT OF EACH, TOGETHER"]);
    for one in &status.host_limits {
        let which = if one.exports.is_empty() { "all".to_owned() } else { listed(&one.exports) };
        hosts.row([&listed(&one.hosts), &which, &rate(one.iops, one.bytes_per_second)]);
    }
    let below = |is_empty, table: String| if is_empty { String::new() } else { format!("\n{table}") };
    below(exports.is_empty(), exports.to_string()) + &below(hosts.is_empty(), hosts.to_string())
}

/// The first few of a list.
fn listed(all: &[String]) -> String {
    const SHOWN: usize = 4;
    let (shown, more) = all.split_at(all.len().min(SHOWN));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    format!("{}{more}", shown.join(" "))
}

fn rate(iops: Option<u32>, bytes_per_second: Option<u64>) -> String {
    let iops = iops.map(|iops| format!("{iops} IOPS"));
    let bytes = bytes_per_second.map(|bytes| format!("{}/s", store::rate(bytes)));
    let both: Vec<String> = iops.into_iter().chain(bytes).collect();
    if both.is_empty() { "-".to_owned() } else { both.join(", ") }
}

/// Who has changed what hosts can set, and who has tried to.
fn changes(exports: &[Export]) -> String {
    let heads = ["EXPORT", "SETTING", ">CHANGED", "LAST BY", "AT", ">REFUSED", "LAST BY", "AT"];
    let (mut table, none) = (Table::new(heads), Changes::default());
    for (export, setting) in exports.iter().flat_map(|one| HostSetting::ALL.map(|setting| (one, setting))) {
        let one = export.changes.get(setting.name()).unwrap_or(&none);
        if *one == none {
            continue;
        }
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let [by, at] = [&one.changed_by, &one.changed_at].map(or_none);
        let [refused_by, refused_at] = [&one.refused_by, &one.refused_at].map(or_none);
        let refused = one.refused;
        table.row([
            &export.address,
            &setting.noun(),
            &one.changed,
            &by,
            &at,
            &refused,
            &refused_by,
            &refused_at,
        ]);
    }
    if table.is_empty() { String::new() } else { format!("\n{table}") }
}

fn state(export: &Export) -> &'static str {
    match (export.stuck, export.degraded, export.replaced) {
        (true, ..) => "does not answer",
        (false, true, true) => "degraded, replaced",
        (false, true, false) => "degraded",
        (false, false, true) => "replaced",
        (false, false, false) => "good",
    }
}
