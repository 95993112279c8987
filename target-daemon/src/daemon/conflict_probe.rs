//! Asks the wire, before anything is served, whether somebody else answers at
//! one of our addresses. To Linux two such targets are two ways to one disk: it
//! would spread one file system over both.

use std::time::{Duration, Instant};

use log::{info, warn};

use super::failure::Failure;
use super::interface::Interface;
use crate::link::{self, Facts, PacketSocket};
use crate::wire::aoe::{Address, Command, Header, Role};
use crate::wire::ether::{Ether, Mac, Tags};
use crate::wire::{Body, Request, Response, query};

/// How long an answer may take. A target that is alive answers within a
/// millisecond, one that is busy with its disk within a few tens.
const PATIENCE: Duration = Duration::from_millis(300);

/// The question is asked this often: frames get lost.
const QUESTIONS: u32 = 3;

/// Bit 31 is what initiators leave to tools.
const TAG: u32 = 0xfb1a_de00;

/// Fails if anybody on one of the interfaces answers at one of the addresses.
pub fn probe(interfaces: &[Interface], addresses: &[Address]) -> Result<(), Failure> {
    for interface in interfaces {
        warn_of_listeners(&interface.facts);
        if interface.facts.up && interface.facts.carrier {
            probe_one(interface, addresses)?;
        } else {
            warn!(
                "{}: the link is down, so nobody could be asked whether our addresses are taken there",
                interface.facts.name
            );
        }
    }
    Ok(())
}

/// Whoever takes AoE by a packet socket hears nothing while the XDP program takes
/// it, and does not answer the probe, for that does not come from outside.
fn warn_of_listeners(facts: &Facts) {
    for (pid, name) in link::listeners(facts.index) {
        warn!(
            "{}: process {pid} ({name}) of this host takes AoE there, too: it hears nothing while xblade serves, and \
             answers hosts again when xblade ends: if it is a target, as vblade is, end it now",
            facts.name
        );
    }
}

fn probe_one(interface: &Interface, addresses: &[Address]) -> Result<(), Failure> {
    let facts = &interface.facts;
    let failed = |e| Failure::machine(&format!("cannot ask on {} who serves what", facts.name), e);
    let socket = PacketSocket::open(facts.index).map_err(failed)?;
    info!("{}: asking whether anybody else serves our addresses", facts.name);
    let mut frame = [0; 2048];
    for _ in 0..QUESTIONS {
        for address in addresses {
            let len = question(Mac(facts.mac), *address, &mut frame);
            // An interface that does not send now shows in other ways.
            let _ = socket.send(frame.get(..len).unwrap_or(&[]));
        }
        let deadline = Instant::now() + PATIENCE / QUESTIONS;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(len) = socket.receive(&mut frame, left).map_err(failed)? else { break };
            if let Some((address, by)) = answer(frame.get(..len).unwrap_or(&[]), addresses) {
                return Err(Failure::AddressTaken { address, by, interface: facts.name.clone() });
            }
            if left.is_zero() {
                break;
            }
        }
    }
    Ok(())
}

fn question(own: Mac, address: Address, frame: &mut [u8]) -> usize {
    let ether = Ether { dst: Mac::BROADCAST, src: own, tags: Tags::NONE };
    let Address { shelf, slot } = address;
    let header = Header { ether, role: Role::Request, shelf, slot, command: Command::Query, tag: TAG };
    Request { header, body: Body::Query(query::Request::Read) }.emit(frame).unwrap_or(0)
}

/// Who answers at which of the addresses, if this frame is such an answer.
fn answer(frame: &[u8], addresses: &[Address]) -> Option<(Address, Mac)> {
    let response = Response::parse(frame).ok()?;
    response.query()?;
    let at = Address { shelf: response.header.shelf, slot: response.header.slot };
    addresses.contains(&at).then_some((at, response.header.ether.src))
}
