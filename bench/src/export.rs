//! Asking exports what they are: one request, one awaited answer.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::aoe::{
    self, Address, Ata, Body, COMMAND_ATA, DATA_AT, IDENTIFY, Mac, Query, READ_EXT, Reply, Route,
    SECTOR, TAG_USER,
};
use crate::port::Port;

/// How long one answer is awaited before the question is repeated.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often a question is asked.
const ATTEMPTS: u32 = 8;

/// An export that has answered.
#[derive(Clone, PartialEq, Debug)]
pub struct Export {
    /// Where it is.
    pub address: Address,
    /// Who answered.
    pub mac: Mac,
    /// What it told about itself.
    pub query: Query,
    /// Its config string.
    pub config: Vec<u8>,
}

impl Export {
    fn from_reply(reply: &Reply, frame: &[u8]) -> Option<Self> {
        let Body::Query(query) = reply.body else {
            return None;
        };
        let config = frame
            .get(32..)?
            .iter()
            .copied()
            .take(query.config_len.into())
            .collect();
        Some(Self {
            address: reply.address,
            mac: reply.from,
            query,
            config,
        })
    }

    /// The way to it.
    pub fn route(&self, from: Mac) -> Route {
        Route {
            from,
            to: self.mac,
            address: self.address,
        }
    }
}

/// Asks everybody, and lists who answers within `wait`.
pub fn discover(port: &mut dyn Port, from: Mac, wait: Duration) -> Result<Vec<Export>> {
    let route = Route {
        from,
        to: Mac::BROADCAST,
        address: Address::ANY,
    };
    let mut found: Vec<Export> = Vec::new();
    let deadline = Instant::now() + wait;
    // Twice, since nobody acknowledges a broadcast.
    for half in [wait / 2, Duration::ZERO] {
        port.send(&route.query(TAG_USER | 1), &[])?;
        port.flush()?;
        listen(port, deadline - half, |reply, frame| {
            if let Some(export) = Export::from_reply(&reply, frame)
                && !found.contains(&export)
            {
                found.push(export);
            }
            false
        })?;
    }
    found.sort_by_key(|export| (export.address, export.mac));
    Ok(found)
}

/// Finds one export.
pub fn find(port: &mut dyn Port, from: Mac, address: Address) -> Result<Export> {
    let route = Route {
        from,
        to: Mac::BROADCAST,
        address,
    };
    let mut found = None;
    for attempt in 0..ATTEMPTS {
        port.send(&route.query(TAG_USER | 0x100 | attempt), &[])?;
        port.flush()?;
        listen(port, Instant::now() + PATIENCE, |reply, frame| {
            let export = Export::from_reply(&reply, frame).filter(|e| e.address == address);
            found = export.or(found.take());
            found.is_some()
        })?;
        if let Some(export) = found {
            return Ok(export);
        }
    }
    bail!(
        "export {address}: no answer on this interface (`xblade-bench discover` lists who answers)"
    )
}

/// The 512 bytes of IDENTIFY DEVICE.
pub fn identify(port: &mut dyn Port, route: &Route) -> Result<Vec<u8>> {
    ask(
        port,
        route,
        Ata {
            command: IDENTIFY,
            lba: 0,
            sectors: 1,
        },
    )
    .context("IDENTIFY DEVICE")
}

/// Reads sectors, one request at a time.
pub fn read(port: &mut dyn Port, route: &Route, lba: u64, sectors: u8) -> Result<Vec<u8>> {
    ask(
        port,
        route,
        Ata {
            command: READ_EXT,
            lba,
            sectors,
        },
    )
    .with_context(|| format!("read of sector {lba}"))
}

/// Sends one ATA command without data until it is answered; returns the data
/// of the answer.
fn ask(port: &mut dyn Port, route: &Route, ata: Ata) -> Result<Vec<u8>> {
    let wanted = usize::from(ata.sectors) * SECTOR;
    for attempt in 0..ATTEMPTS {
        let tag = TAG_USER | 0x200 | attempt;
        port.send(&route.ata(ata, tag), &[])?;
        port.flush()?;
        let mut answer = None;
        listen(port, Instant::now() + PATIENCE, |reply, frame| {
            if reply.address == route.address && reply.tag == tag {
                answer = Some((reply.body, frame.get(DATA_AT..).unwrap_or(&[]).to_vec()));
            }
            answer.is_some()
        })?;
        match answer {
            Some((Body::Ata { status, .. }, mut data))
                if status & aoe::STATUS_BAD == 0 && data.len() >= wanted =>
            {
                data.truncate(wanted);
                return Ok(data);
            }
            Some((body, data)) => bail!(
                "export {} answered {body:?} and {} bytes",
                route.address,
                data.len()
            ),
            None => {}
        }
    }
    bail!(
        "export {}: no answer to ATA command {:#04x} (AoE command {COMMAND_ATA})",
        route.address,
        ata.command
    )
}

/// Hands replies to `each` until it says `true` or the time is over.
fn listen(
    port: &mut dyn Port,
    deadline: Instant,
    mut each: impl FnMut(Reply, &[u8]) -> bool,
) -> Result<()> {
    let mut done = false;
    let mut scratch = Vec::new();
    while !done {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let n = port.receive(&mut |received| {
            let frame = received.whole(&mut scratch);
            if let Some(reply) = Reply::parse(frame) {
                done |= each(reply, frame);
            }
        })?;
        if n == 0 && !done {
            port.wait(left.min(Duration::from_millis(20)))?;
        }
    }
    Ok(())
}
