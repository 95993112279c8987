//! Queries exports, with one request at a time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use xblade_wire::identify::Identity;
use xblade_wire::query::Advert;

use crate::aoe::{self, Address, Ata, Mac, Opcode, Response, Route, SECTOR, TAG_USER};
use crate::port::Port;

/// Timeout before a request is repeated.
const PATIENCE: Duration = Duration::from_millis(250);
/// Maximum number of attempts.
const ATTEMPTS: u32 = 8;

/// An export that has answered.
#[derive(Clone, PartialEq, Debug)]
pub struct Export {
    /// Its address.
    pub address: Address,
    /// The MAC address that answered.
    pub mac: Mac,
    /// What it advertises.
    pub advert: Advert,
    /// Its config string.
    pub config: Vec<u8>,
}

impl Export {
    fn told_by(response: &Response<'_>) -> Option<Self> {
        let told = response.query()?;
        Some(Self {
            address: response.header.address(),
            mac: response.header.ether.src,
            advert: told.advert,
            config: told.string.to_vec(),
        })
    }

    /// The route to it.
    pub fn route(&self, from: Mac) -> Route {
        Route { from, to: self.mac, address: self.address }
    }
}

/// Broadcasts a query, and lists the exports that answer within `wait`.
pub fn discover(port: &mut dyn Port, from: Mac, wait: Duration) -> Result<Vec<Export>> {
    let route = Route { from, to: Mac::BROADCAST, address: aoe::ANY };
    let mut found: Vec<Export> = Vec::new();
    // Sent twice, because a broadcast is not acknowledged.
    for _ in 0..2 {
        listen::<()>(port, &route.query(TAG_USER | 1), wait / 2, |response| {
            found.extend(Export::told_by(response).filter(|export| !found.contains(export)));
            None
        })?;
    }
    found.sort_by_key(|export| (export.address, export.mac));
    Ok(found)
}

/// Finds one export.
pub fn find(port: &mut dyn Port, from: Mac, address: Address) -> Result<Export> {
    let route = Route { from, to: Mac::BROADCAST, address };
    for attempt in 0..ATTEMPTS {
        let frame = route.query(TAG_USER | 0x100 | attempt);
        let answer = listen(port, &frame, PATIENCE, |response| {
            Export::told_by(response).filter(|export| export.address == address)
        })?;
        if let Some(export) = answer {
            return Ok(export);
        }
    }
    bail!("export {address}: no answer on this interface (`xblade-bench discover` lists who answers)")
}

/// Sends IDENTIFY DEVICE.
pub fn identify(port: &mut dyn Port, route: &Route) -> Result<Identity> {
    let data = ask(port, route, Ata { command: Opcode::Identify, lba: 0, sectors: 1 })?;
    Identity::parse(&data)
        .with_context(|| format!("export {}: its answer to IDENTIFY DEVICE makes no sense", route.address))
}

/// Reads sectors, one request at a time.
pub fn read(port: &mut dyn Port, route: &Route, lba: u64, sectors: u8) -> Result<Vec<u8>> {
    ask(port, route, Ata { command: Opcode::ReadSectorsExt, lba, sectors })
}

/// Sends an ATA command until it is answered; returns the data of the answer.
fn ask(port: &mut dyn Port, route: &Route, ata: Ata) -> Result<Vec<u8>> {
    for attempt in 0..ATTEMPTS {
        let tag = TAG_USER | 0x200 | attempt;
        let answer = listen(port, &route.ata(ata, tag), PATIENCE, |response| {
            let answers = response.header.address() == route.address && response.header.tag == tag;
            answers.then(|| outcome(response, usize::from(ata.sectors) * SECTOR))
        })?;
        if let Some(outcome) = answer {
            return outcome.with_context(|| format!("export {}, {ata:?}", route.address));
        }
    }
    bail!("export {}: no answer to {ata:?}", route.address)
}

/// The data of a successful answer.
fn outcome(response: &Response<'_>, bytes: usize) -> Result<Vec<u8>> {
    if let Some(error) = response.refusal() {
        bail!("refused: {error:?}");
    }
    let (ata, data) = response.ata().context("an answer to another command")?;
    ensure!(ata.is_good(), "ATA status {:#04x}, error {:#04x}", ata.status, ata.error);
    let data = data.get(..bytes).with_context(|| format!("an answer with {} bytes of data", data.len()))?;
    Ok(data.to_vec())
}

/// Sends a frame, and passes responses to `read` until it returns something or the time has
/// passed.
fn listen<T>(
    port: &mut dyn Port,
    frame: &[u8],
    wait: Duration,
    mut read: impl FnMut(&Response<'_>) -> Option<T>,
) -> Result<Option<T>> {
    port.send(frame, &[])?;
    port.flush()?;
    let deadline = Instant::now() + wait;
    let (mut answer, mut scratch) = (None, Vec::new());
    while answer.is_none() && Instant::now() < deadline {
        let n = port.receive(&mut |received| {
            if let Ok(response) = Response::parse(received.whole(&mut scratch)) {
                answer = answer.take().or_else(|| read(&response));
            }
        })?;
        if n == 0 {
            port.wait(deadline.saturating_duration_since(Instant::now()).min(Duration::from_millis(20)))?;
        }
    }
    Ok(answer)
}
