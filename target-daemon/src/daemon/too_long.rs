//! Reads whose replies are longer than the MTU of their interface.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use log::warn;

use super::interface::Interface;
use super::worker_pool::WorkerPool;
use crate::shelf::ReplyLimit;
use crate::wire::aoe::Address;

/// How often an interface is warned of.
const PERIOD: Duration = Duration::from_secs(60);

/// When each interface was last warned of, by its index.
#[derive(Default)]
pub struct TooLong {
    warned: BTreeMap<usize, Instant>,
}

impl TooLong {
    /// Warns of reads that got no reply since the last call.
    pub fn warn(&mut self, pool: &WorkerPool, interfaces: &[Interface]) {
        for (index, export, sectors) in pool.too_long_replies() {
            if let Some(interface) = interfaces.get(index)
                && self.is_due(index, Instant::now())
            {
                warn!("{}", message(&interface.facts.name, interface.facts.mtu, export, sectors));
            }
        }
    }

    fn is_due(&mut self, interface: usize, now: Instant) -> bool {
        let is_due = self.warned.get(&interface).is_none_or(|last| now.duration_since(*last) >= PERIOD);
        if is_due {
            self.warned.insert(interface, now);
        }
        is_due
    }
}

fn message(interface: &str, mtu: u32, export: Address, sectors: u8) -> String {
    let room = ReplyLimit::new(mtu, u8::MAX).now;
    format!(
        "{interface}: a host asks for {sectors} sector(s) of {export} at once, and MTU {mtu} has room for {room}: such \
         reads get no reply, and Linux gives the disk up after 180 s: raise the MTU to {} or more before that",
        ReplyLimit::mtu_for(sectors)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interface_is_warned_of_once_a_minute() {
        let (mut too_long, start) = (TooLong::default(), Instant::now());
        for (interface, seconds, expected) in
            [(0, 0, true), (0, 1, false), (1, 1, true), (0, 59, false), (0, 60, true), (0, 61, false)]
        {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(too_long.is_due(interface, now), expected, "{interface} after {seconds} s");
        }
    }

    #[test]
    fn the_warning_names_interface_export_counts_and_remedy() {
        let text = message("eth1", 1500, Address { shelf: 0, slot: 1 }, 17);
        let expected = "eth1: a host asks for 17 sector(s) of 0.1 at once, and MTU 1500 has room for 2: such reads get \
                        no reply, and Linux gives the disk up after 180 s: raise the MTU to 8726 or more before that";
        assert_eq!(text, expected);
    }
}
