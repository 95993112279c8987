//! `xblade-bench discover`: who is there.

use std::time::Duration;

use anyhow::Result;

use crate::aoe;
use crate::args::{DiscoverArgs, PortKind};
use crate::export::{self, Export};
use crate::interface::Interface;
use crate::port::{self, Port};
use crate::report::Table;

/// Asks, and prints a table.
pub fn run(args: &DiscoverArgs) -> Result<()> {
    let interface = Interface::named(&args.interface)?;
    let mut port = port::open(&interface, PortKind::AfPacket)?;
    let exports = export::discover(
        port.as_mut(),
        interface.mac,
        Duration::from_millis(args.wait_ms),
    )?;
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
        table.row(row(port.as_mut(), &interface, export));
    }
    print!("{}", table.text());
    if exports.is_empty() {
        eprintln!(
            "nobody answered on {} within {} ms",
            interface.name, args.wait_ms
        );
    }
    Ok(())
}

fn row(port: &mut dyn Port, interface: &Interface, export: &Export) -> [String; 8] {
    // One that does not identify itself still is in the list.
    let (size, model) = match export::identify(port, &export.route(interface.mac)) {
        Ok(data) => (
            size_of(aoe::identified_sectors(&data)),
            aoe::identified_model(&data),
        ),
        Err(e) => ("?".to_owned(), format!("{e:#}")),
    };
    [
        export.address.to_string(),
        export.mac.to_string(),
        export.query.buffer_count.to_string(),
        export.query.sectors.to_string(),
        format!("{:#06x}", export.query.firmware),
        size,
        model,
        export.config.escape_ascii().to_string(),
    ]
}

fn size_of(sectors: Option<u64>) -> String {
    let Some(sectors) = sectors else {
        return "?".to_owned();
    };
    format!("{:.1} MiB ({sectors} sectors)", sectors as f64 / 2048.0)
}
