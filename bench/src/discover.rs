//! `xblade-bench discover`: lists the exports on an interface.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use xblade_link::{Facts, Occupant};

use crate::aoe::{Address, Mac};
use crate::args::DiscoverArgs;
use crate::export::{self, Export};
use crate::port::{PacketPort, Port, Tags};
use crate::report::Table;

/// What is printed about an export.
#[derive(Serialize)]
struct Told {
    export: String,
    mac: String,
    buffer_count: u16,
    sectors_per_frame: u8,
    firmware: u16,
    /// `None` if it does not answer IDENTIFY DEVICE.
    sectors: Option<u64>,
    model: Option<String>,
    config: String,
    /// The reason for that.
    error: Option<String>,
}

/// Discovers exports, and prints a table or JSON.
pub fn run(args: &DiscoverArgs) -> Result<()> {
    let interface = Facts::read(&args.interface)?;
    let from = Mac(interface.mac);
    let mut port = PacketPort::open(&interface, Tags::ALL)?;
    let exports = export::discover(&mut port, from, Duration::from_millis(args.wait_ms))?;
    let all: Vec<Told> = exports.iter().map(|export| Told::new(&mut port, from, export)).collect();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&all).context("cannot write JSON")?);
    } else {
        print!("{}", table(&all).text());
    }
    for warning in shared(&exports) {
        eprintln!("warning: {warning}");
    }
    if exports.is_empty() {
        let name = &interface.name;
        bail!("nobody answered on {name} within {} ms: {}", args.wait_ms, remedy(&interface));
    }
    Ok(())
}

fn remedy(interface: &Facts) -> String {
    let name = &interface.name;
    let is_served = |(mode, id): &(_, _)| Occupant::of(name, *mode, *id).is_xblade();
    if !interface.is_live() {
        format!("it is down (ip link set {name} up; the cable, the other end)")
    } else if interface.attached.iter().any(is_served) {
        "an xblade serves on it, and does not see what this host sends: ask from another host; here, `xblade status` \
         tells what is served"
            .to_owned()
    } else {
        "is it the segment and VLAN of the target, does that serve on it, and does its list of hosts (allow) have \
         this one?"
            .to_owned()
    }
}

impl Told {
    fn new(port: &mut dyn Port, from: Mac, export: &Export) -> Self {
        // An export that does not identify itself is listed all the same.
        let identity = export::identify(port, &export.route(from));
        let known = identity.as_ref().ok();
        Self {
            export: export.address.to_string(),
            mac: export.mac.to_string(),
            buffer_count: export.advert.buffer_count,
            sectors_per_frame: export.advert.sectors_per_frame,
            firmware: export.advert.firmware,
            sectors: known.map(|identity| identity.sectors),
            model: known.map(|identity| identity.names.model.as_str().to_owned()),
            config: export.config.escape_ascii().to_string(),
            error: identity.err().map(|e| format!("{e:#}")),
        }
    }
}

fn table(all: &[Told]) -> Table {
    let head = ["export", "MAC", "buffers", "sectors/frame", "firmware", "size", "model", "config string"];
    let mut table = Table::new(head);
    for told in all {
        table.row([
            told.export.clone(),
            told.mac.clone(),
            told.buffer_count.to_string(),
            told.sectors_per_frame.to_string(),
            format!("{:#06x}", told.firmware),
            told.sectors.map_or("?".to_owned(), size_of),
            told.model.clone().or_else(|| told.error.clone()).unwrap_or_default(),
            told.config.clone(),
        ]);
    }
    table
}

/// A warning for each address from which more than one MAC answers. Initiators treat them
/// as paths to the same data.
fn shared(exports: &[Export]) -> Vec<String> {
    let mut by_address: BTreeMap<Address, BTreeSet<String>> = BTreeMap::new();
    for export in exports {
        by_address.entry(export.address).or_default().insert(export.mac.to_string());
    }
    let several = by_address.into_iter().filter(|(_, macs)| macs.len() > 1);
    several
        .map(|(address, macs)| {
            format!(
                "{address} is answered by {}: hosts take them for paths to the same data, and write to \
                 all of them; if they are different exports, give one another address",
                Vec::from_iter(macs).join(" and ")
            )
        })
        .collect()
}

fn size_of(sectors: u64) -> String {
    format!("{:.1} MiB ({sectors} sectors)", sectors as f64 / 2048.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xblade_wire::query::Advert;

    #[test]
    fn an_address_with_two_macs_is_told_and_two_answers_of_one_are_not() {
        let advert = Advert { buffer_count: 64, firmware: 0, sectors_per_frame: 2 };
        let export = |slot, mac, config: &[u8]| Export {
            address: Address { shelf: 7, slot },
            mac: Mac([2, 0, 0, 0, 0, mac]),
            advert,
            config: config.to_vec(),
        };
        let warnings =
            shared(&[export(1, 1, b"a"), export(1, 1, b"b"), export(2, 1, b""), export(2, 3, b"")]);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("7.2 is answered by 02:00:00:00:00:01 and 02:00:00:00:00:03"));
    }
}
