//! Stacked interfaces: a bridge on its ports, a VLAN on a NIC. The kernel refuses an XDP
//! program on an interface if one directly above it has one.

use std::io;

use super::facts::attached;
use super::netlink::{self, Interface};
use super::occupant::Occupant;
use super::sys;

/// The deepest stack that is followed.
const HEIGHT_MAX: u32 = 16;

/// The programs of the interfaces directly above the one with this index.
///
/// # Errors
///
/// Those of the netlink socket.
pub fn above(index: u32) -> io::Result<Vec<Occupant>> {
    let all = netlink::interfaces()?;
    let Some(lower) = all.iter().find(|one| one.index == index) else { return Ok(Vec::new()) };
    let uppers = all.iter().filter(|upper| upper.lies_on(lower));
    let program = |upper: &Interface| {
        let (mode, id) = attached(&sys::xdp_query(upper.index).ok()?).into_iter().next()?;
        Some(Occupant::of(&upper.name, mode, id))
    };
    Ok(uppers.filter_map(program).collect())
}

/// The positions of these indexes in an order in which each comes before those above it.
///
/// # Errors
///
/// Those of the netlink socket.
pub fn lowest_first(indexes: &[u32]) -> io::Result<Vec<usize>> {
    let all = netlink::interfaces()?;
    let mut places: Vec<usize> = (0..indexes.len()).collect();
    places.sort_by_key(|place| indexes.get(*place).map(|index| height(&all, *index, 0)));
    Ok(places)
}

/// The pairs of these in which one lies directly on the other: positions of the upper and
/// lower one.
///
/// # Errors
///
/// Those of the netlink socket.
pub fn pairs(indexes: &[u32]) -> io::Result<Vec<(usize, usize)>> {
    let all = netlink::interfaces()?;
    let known = |(place, index): (usize, &u32)| Some((place, all.iter().find(|one| one.index == *index)?));
    let known: Vec<(usize, &Interface)> = indexes.iter().enumerate().filter_map(known).collect();
    let below = |(place, upper): &(usize, &Interface)| {
        let lower = known.iter().filter(|(_, lower)| upper.lies_on(lower));
        lower.map(|(lower, _)| (*place, *lower)).collect::<Vec<_>>()
    };
    Ok(known.iter().flat_map(below).collect())
}

/// The number of levels below it.
fn height(all: &[Interface], index: u32, so_far: u32) -> u32 {
    let Some(upper) = all.iter().find(|one| one.index == index) else { return so_far };
    if so_far >= HEIGHT_MAX {
        return so_far;
    }
    let below = all.iter().filter(|lower| upper.lies_on(lower));
    below.map(|lower| height(all, lower.index, so_far + 1)).max().unwrap_or(so_far)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn height_counts_what_lies_below() {
        let link = |index, lower, master| Interface { index, lower, master, ..Interface::default() };
        // A bridge (9) on a VLAN (3) on a NIC (2); and two that claim to lie on each other.
        let all = [link(9, 0, 0), link(3, 2, 9), link(2, 0, 0), link(20, 21, 0), link(21, 20, 0)];
        let heights: Vec<u32> = [2, 3, 9, 7].iter().map(|index| height(&all, *index, 0)).collect();
        assert_eq!(heights, [0, 1, 2, 0]);
        assert_eq!(height(&all, 20, 0), HEIGHT_MAX);
    }
}
