//! A target with an in-memory store that does one thing wrong now and then, to show that
//! a check finds it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use xblade_link::Facts;
use xblade_wire::FRAME_LEN_MIN;
use xblade_wire::aoe::Header;

use crate::aoe::{DATA_AT, SECTOR};
use crate::args::Lie;
use crate::port::{PacketPort, Port};

use super::Echo;

const SLEEP: Duration = Duration::from_millis(20);
/// Requests to one block in this many are served wrongly.
const ONE_OF: u64 = 32;

struct CorruptingEcho<'a> {
    echo: &'a Echo,
    lie: Lie,
    sectors: HashMap<u64, [u8; SECTOR]>,
    reads: u64,
}

/// Answers until interrupted.
pub fn run(echo: &Echo, facts: &Facts, lie: Lie, stop: &AtomicBool) -> Result<()> {
    let mut port = PacketPort::open_to_all(facts)?;
    let mut liar = CorruptingEcho { echo, lie, sectors: HashMap::new(), reads: 0 };
    eprintln!("echo at {} on {}, lying: {lie:?}", echo.address, facts.name);
    while !stop.load(Ordering::Relaxed) {
        let mut replies = Vec::new();
        let n = port.receive(&mut |received| replies.extend(liar.answer(received.head())))?;
        for reply in replies {
            // The initiator resends what does not fit.
            port.send(&reply, &[])?;
        }
        port.flush().context("cannot send")?;
        if n == 0 {
            port.wait(SLEEP)?;
        }
    }
    Ok(())
}

impl CorruptingEcho<'_> {
    fn answer(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let header = Header::parse(frame).ok()?;
        if !header.is_for(self.echo.address) {
            return None;
        }
        let mut reply = match *frame.get(27)? {
            0x24 if frame.get(19) == Some(&0) => self.read(frame)?,
            0x34 if frame.get(19) == Some(&0) => self.write(frame)?,
            _ => return self.introduce(frame),
        };
        self.echo.turn_round(&mut reply)?;
        Some(reply)
    }

    fn introduce(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let (header, reply) = self.echo.introduce(frame, frame.len())?;
        let mut bytes = vec![0; reply.frame_len(header.l2_len())];
        reply.emit(&header, self.echo.own, self.echo.address, &mut bytes)?;
        Some(bytes)
    }

    fn read(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let (lba, count) = place(frame)?;
        self.reads += 1;
        let lies = self.reads.is_multiple_of(ONE_OF);
        let from = if self.lie == Lie::WrongLba && lies { lba + count } else { lba };
        let mut reply = frame.get(..DATA_AT)?.to_vec();
        for lba in from..from + count {
            reply.extend(self.sectors.get(&lba).unwrap_or(&[0; SECTOR]));
        }
        if self.lie == Lie::WrongTag && lies {
            *reply.get_mut(21)? ^= 0x40;
        }
        reply.resize(reply.len().max(FRAME_LEN_MIN), 0);
        Some(reply)
    }

    fn write(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let (lba, count) = place(frame)?;
        let data = frame.get(DATA_AT..DATA_AT + count as usize * SECTOR)?;
        let chosen = (lba / count.max(1)).is_multiple_of(ONE_OF);
        let lost = match self.lie {
            Lie::Lose => chosen,
            // Keeps only the first write to it.
            Lie::Stale => chosen && self.sectors.contains_key(&lba),
            _ => false,
        };
        if !lost {
            self.sectors.extend((lba..).zip(data.as_chunks::<SECTOR>().0.iter().copied()));
        }
        let mut reply = frame.get(..DATA_AT)?.to_vec();
        reply.resize(FRAME_LEN_MIN, 0);
        Some(reply)
    }
}

/// The first sector of a request, and the number of sectors.
fn place(frame: &[u8]) -> Option<(u64, u64)> {
    let mut lba = [0; 8];
    lba.get_mut(..6)?.copy_from_slice(frame.get(28..34)?);
    Some((u64::from_le_bytes(lba), u64::from(*frame.get(26)?)))
}
