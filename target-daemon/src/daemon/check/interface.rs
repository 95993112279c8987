//! Checks an interface: its features, and whether xblade can serve on it.

use super::super::failure::chain;
use super::super::interface::{advised, instead_of_a_second};
use super::super::plan;
use super::Line;
use crate::config::Serve;
use crate::link::{self, AttachError, Facts, FactsError, Mode, Occupant};
use crate::shelf;

/// Lines for an interface and a configuration.
pub fn lines(serve: &Serve, facts: &Result<Facts, FactsError>) -> Vec<Line> {
    let facts = match facts {
        Ok(facts) => facts,
        Err(e) => return vec![Line::Fix(chain(e))],
    };
    let name = &facts.name;
    if facts.loopback {
        return vec![Line::Fix(format!(
            "{name} is the loopback: name the interface that the other hosts are on"
        ))];
    }
    let driver = if facts.driver.is_empty() { "unknown" } else { &facts.driver };
    let mut lines = vec![Line::Ok(format!(
        "{name}: driver {driver}, {} queue(s), {}",
        facts.queues,
        reception(serve, facts)
    ))];
    lines.push(link_state(facts));
    lines.push(mtu(facts));
    for (mode, id) in &facts.attached {
        lines.push(occupied(&Occupant::of(name, *mode, *id)));
    }
    if facts.attached.is_empty()
        && let Some(above) = link::above(facts.index).unwrap_or_default().into_iter().next()
    {
        let above = AttachError::Below { name: name.clone(), above: Some(Box::new(above)) };
        lines.push(Line::Fix(advised(above).to_string()));
    }
    lines
}

/// Reports an attached XDP program: one that is not xblade's has to be removed.
fn occupied(occupant: &Occupant) -> Line {
    if !occupant.is_xblade() {
        return Line::Fix(occupant.to_string());
    }
    let by = occupant.holders.first().map(|(pid, _)| format!(", process {pid}")).unwrap_or_default();
    Line::Ok(format!(
        "{}: an xblade serves on it already{by} (`xblade reload` puts a changed file of its own in force): {}",
        occupant.interface,
        instead_of_a_second(&occupant.holders)
    ))
}

/// How `serve` would receive. Only attaching shows whether a driver without frames in several
/// fragments accepts an MTU.
fn reception(serve: &Serve, facts: &Facts) -> String {
    let reception = plan::reception(serve, facts);
    let copy = match reception.zero_copy {
        Ok(()) => "zero-copy".to_owned(),
        Err(reason) => format!("copy ({reason})"),
    };
    let or_else = if reception.mode == Mode::Native { "" } else { " (else in generic mode)" };
    match (reception.mode, facts.native) {
        (Mode::Generic, _) => "XDP in generic mode".to_owned(),
        (_, None | Some(false)) => format!("XDP in native mode if the driver has it{or_else}"),
        _ if facts.rx_sg == Some(false) && facts.mtu > 1500 => {
            format!("XDP in native mode if the driver takes MTU {}{or_else}, {copy}", facts.mtu)
        }
        _ => format!("XDP in native mode, {copy}"),
    }
}

fn link_state(facts: &Facts) -> Line {
    let name = &facts.name;
    match (facts.up, facts.carrier) {
        (true, true) => Line::Ok(format!("{name}: link is up")),
        (true, false) => Line::Hint(format!("{name}: no carrier: check the cable and the other end")),
        (false, _) => Line::Warn(format!("{name} is down, so no host reaches it: ip link set {name} up")),
    }
}

fn mtu(facts: &Facts) -> Line {
    let (name, mtu, sectors) = (&facts.name, facts.mtu, shelf::sectors_per_frame(facts.mtu));
    match shelf::check_mtu(mtu) {
        Err(e) => Line::Fix(format!("{name}: {e}")),
        Ok(_) if sectors < 8 => Line::Hint(format!(
            "{name}: MTU {mtu} carries {sectors} sector(s) a frame; 9000 on every host and switch carries 16: \
             ip link set {name} mtu 9000"
        )),
        Ok(_) => Line::Ok(format!("{name}: MTU {mtu} carries {sectors} sectors a frame")),
    }
}
