//! Checks an interface: its features, and whether xblade can serve on it.

use super::super::failure::chain;
use super::super::interface::{advised, instead_of_a_second};
use super::Line;
use crate::link::{self, AttachError, Facts, FactsError, Occupant, XdpMode};
use crate::shelf;

/// Lines for an interface.
pub fn lines(facts: &Result<Facts, FactsError>) -> Vec<Line> {
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
    let mut lines =
        vec![Line::Ok(format!("{name}: driver {driver}, {} queue(s), XDP {}", facts.queues, xdp(facts)))];
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

fn xdp(facts: &Facts) -> String {
    let Some(native) = facts.native else {
        return "generic (the driver does not report native support)".into();
    };
    if !native {
        return "generic only".into();
    }
    let yes = |known: Option<bool>| if known == Some(true) { "yes" } else { "no" };
    format!("{}, jumbo frames {}, zero-copy {}", XdpMode::Native, yes(facts.rx_sg), yes(facts.zero_copy))
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
