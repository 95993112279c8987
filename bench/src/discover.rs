//! `xblade-bench discover`: who is there.

use std::time::Duration;

use anyhow::Result;
use xblade::link::Facts;

use crate::aoe::Mac;
use crate::args::{DiscoverArgs, PortKind};
use crate::export::{self, Export};
use crate::port::{self, Port};
use crate::report::Table;

/// Asks, and prints a table.
pub fn run(args: &DiscoverArgs) -> Result<()> {
    let interface = Facts::read(&args.interface)?;
    let from = Mac(interface.mac);
    let mut port = port::open(&interface, PortKind::AfPacket, 1)?;
    let exports = export::discover(port.as_mut(), from, Duration::from_millis(args.wait_ms))?;
    let mut table = Table::new([
        "export",
        "MAC",
        "buffers",
        "sectors/frame",
        "firmware",
        "size",
        "model",
        "config string",
    ]);
    for export in &exports {
        table.row(row(port.as_mut(), from, export));
    }
    print!("{}", table.text());
    if exports.is_empty() {
        eprintln!("nobody answered on {} within {} ms", interface.name, args.wait_ms);
    }
    Ok(())
}

fn row(port: &mut dyn Port, from: Mac, export: &Export) -> [String; 8] {
    // One that does not identify itself is in the list even so.
    let (size, model) = match export::identify(port, &export.route(from)) {
        Ok(identity) => (size_of(identity.sectors), identity.names.model.as_str().to_owned()),
        Err(e) => ("?".to_owned(), format!("{e:#}")),
    };
    [
        export.address.to_string(),
        export.mac.to_string(),
        export.advert.buffer_count.to_string(),
        export.advert.sectors_per_frame.to_string(),
        format!("{:#06x}", export.advert.firmware),
        size,
        model,
        export.config.escape_ascii().to_string(),
    ]
}

fn size_of(sectors: u64) -> String {
    format!("{:.1} MiB ({sectors} sectors)", sectors as f64 / 2048.0)
}
