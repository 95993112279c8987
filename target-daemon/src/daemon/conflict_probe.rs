//! Checks the network before anything is served: does another target answer at one of our
//! addresses? Linux treats two such targets as two paths to one disk, and would spread one
//! file system over both.

use std::time::{Duration, Instant};

use log::{info, warn};

use super::failure::{Context, Failure};
use super::interface::Interface;
use crate::config::Export;
use crate::link::{self, Facts, PacketSocket};
use crate::shelf::Segments;
use crate::wire::aoe::{Address, Command, Header, Role};
use crate::wire::ether::{Ether, Mac, Tags};
use crate::wire::{Body, Request, Response, query};

/// How long to wait for an answer. An idle target answers within a millisecond, one that is
/// busy with its disk within a few tens.
const PATIENCE: Duration = Duration::from_millis(300);

/// The number of probes: frames get lost.
const QUESTIONS: u32 = 3;

/// Initiators leave tags with bit 31 to tools. The VLAN of the probe is added: the kernel takes
/// the VLAN tag off the answer.
const TAG: u32 = 0xfb1a_0000;

/// Fails if a target on one of the segments of an export answers at its address.
pub fn probe(interfaces: &[Interface], exports: &[(&Export, &Segments)]) -> Result<(), Failure> {
    for (index, interface) in (0..).zip(interfaces) {
        let here = exports.iter().filter(|(_, segments)| segments.has(index));
        let places = here.flat_map(|(export, at)| at.vlans.ids().map(|vlan| (export.address, vlan)));
        let places: Vec<(Address, u16)> = places.collect();
        warn_of_listeners(&interface.facts);
        if interface.facts.is_live() {
            probe_one(interface, &places)?;
        } else {
            warn!(
                "{}: the link is down, so cannot check whether our addresses are in use there",
                interface.facts.name
            );
        }
    }
    Ok(())
}

/// Warns of local processes that receive AoE by a packet socket. They receive nothing while
/// the XDP program takes the frames, and they do not answer the probe, because it does not
/// arrive from outside.
fn warn_of_listeners(facts: &Facts) {
    for (pid, name) in link::listeners(facts.index) {
        warn!(
            "{}: process {pid} ({name}) of this host also receives AoE there; it gets no frames while xblade serves, and \
             answers hosts again when xblade ends: if it is a target, as vblade is, end it now",
            facts.name
        );
    }
}

fn probe_one(interface: &Interface, places: &[(Address, u16)]) -> Result<(), Failure> {
    let facts = &interface.facts;
    let what = format!("cannot probe for other targets on {}", facts.name);
    let socket = PacketSocket::open(facts.index).context(&what)?;
    info!("{}: probing for other targets at our addresses", facts.name);
    let mut frame = [0; 2048];
    for _ in 0..QUESTIONS {
        for (address, vlan) in places {
            let len = question(Mac(facts.mac), *address, *vlan, &mut frame);
            // An interface that does not send now is noticed elsewhere.
            let _ = socket.send(frame.get(..len).unwrap_or(&[]));
        }
        let deadline = Instant::now() + PATIENCE / QUESTIONS;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(len) = socket.receive(&mut frame, left).context(&what)? else { break };
            if let Some((address, by)) = answer(frame.get(..len).unwrap_or(&[]), places) {
                let text = format!(
                    "{by} on {} serves {address} already: initiators would mix the two disks. Stop it, or give this \
                     export another address (--no-probe if it is the same data on purpose)",
                    facts.name
                );
                return Err(Failure::new(4, text));
            }
            if left.is_zero() {
                break;
            }
        }
    }
    Ok(())
}

fn question(own: Mac, address: Address, vlan: u16, frame: &mut [u8]) -> usize {
    let tags = Tags::of_vlan(vlan);
    let ether = Ether { dst: Mac::BROADCAST, src: own, tags };
    let Address { shelf, slot } = address;
    let header = Header {
        ether,
        role: Role::Request,
        shelf,
        slot,
        command: Command::Query,
        tag: TAG | u32::from(vlan),
    };
    Request { header, body: Body::Query(query::Request::Read) }.emit(frame).unwrap_or(0)
}

/// The address and sender of this frame, if it is an answer from one of the addresses in its
/// VLAN.
fn answer(frame: &[u8], places: &[(Address, u16)]) -> Option<(Address, Mac)> {
    let response = Response::parse(frame).ok()?;
    response.query()?;
    let (at, tag) = (response.header.address(), response.header.tag);
    let is_ours = places.iter().any(|(address, vlan)| *address == at && TAG | u32::from(*vlan) == tag);
    is_ours.then_some((at, response.header.ether.src))
}
