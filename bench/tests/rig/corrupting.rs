//! A target with an in-memory store, over AF_PACKET, that does one thing wrong now and then,
//! to show that a check finds it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use xblade_kit::{OURS, PacketSocket, Space};
use xblade_wire::aoe::{Address, Header};
use xblade_wire::ata::{self, Command, SECTOR_LEN};
use xblade_wire::ether::Mac;
use xblade_wire::identify::{Identity, Names, Text};
use xblade_wire::query::{self, Advert};
use xblade_wire::{Body, Reply, Request};

/// What a target does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// Nothing.
    None,
    /// Some sectors keep their first contents.
    Stale,
    /// Some sectors are never stored.
    Lose,
    /// Some replies have a tag that was never sent.
    WrongTag,
    /// Some reads return other sectors than requested.
    WrongLba,
}

/// Requests to one block in this many are served wrongly.
const ONE_OF: u64 = 32;
/// The size of the export in sectors.
const SIZE: u64 = 1 << 21;
const SECTORS_PER_FRAME: u8 = 2;

/// The target, on a thread. Dropping it ends the thread.
pub struct CorruptingTarget {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CorruptingTarget {
    /// Starts it on the interface of the targets.
    pub fn start(space: &Space, address: Address, lie: Lie) -> Self {
        let (socket, own) = (PacketSocket::within(space, OURS).unwrap(), space.mac(OURS));
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            Store { own, address, lie, sectors: HashMap::new(), reads: 0 }.serve(&socket, &seen);
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for CorruptingTarget {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Store {
    own: Mac,
    address: Address,
    lie: Lie,
    sectors: HashMap<u64, [u8; SECTOR_LEN]>,
    reads: u64,
}

impl Store {
    fn serve(&mut self, socket: &PacketSocket, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            // Fails while the interface is down.
            let frame = socket.receive(Duration::from_millis(20)).ok().flatten();
            if let Some(reply) = frame.and_then(|frame| self.answer(&frame)) {
                // The initiator resends what does not fit.
                let _ = socket.send(&reply);
            }
        }
    }

    fn answer(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let header = Header::parse(frame).ok().filter(|header| header.is_for(self.address))?;
        let request = Request::parse(&header, frame, frame.len()).ok()?;
        let advert = Advert { buffer_count: 128, firmware: 0, sectors_per_frame: SECTORS_PER_FRAME };
        let mut data = Vec::new();
        let reply = match request.body {
            Body::Query(query::Request::Read) => {
                Reply::Query(query::Reply { code: 0, advert, string: b"", refusal: None })
            }
            Body::Ata { ata, payload_offset, .. } => {
                let good = ata.reply(ata::status::GOOD, ata::error::NONE);
                match ata.command {
                    Command::Identify => Reply::Identify(good, identity()),
                    Command::ReadSectorsExt => {
                        data = self.read(ata.lba(), ata.count.into());
                        Reply::AtaData { ata: good, bytes: data.len() }
                    }
                    Command::WriteSectorsExt => {
                        self.write(ata.lba(), &frame[payload_offset..]);
                        Reply::Ata(good)
                    }
                    _ => return None,
                }
            }
            _ => return None,
        };
        let mut bytes = vec![0; reply.frame_len(header.l2_len())];
        reply.emit(&header, self.own, self.address, &mut bytes)?;
        let at = header.argument_offset() + ata::HEADER_LEN;
        bytes[at..at + data.len()].copy_from_slice(&data);
        if self.lie == Lie::WrongTag && !data.is_empty() && self.lies() {
            bytes[21] ^= 0x40;
        }
        Some(bytes)
    }

    /// Whether this read is served wrongly.
    fn lies(&self) -> bool {
        self.reads.is_multiple_of(ONE_OF)
    }

    fn read(&mut self, lba: u64, count: u64) -> Vec<u8> {
        self.reads += 1;
        let from = if self.lie == Lie::WrongLba && self.lies() { lba + count } else { lba };
        let sector = |lba| *self.sectors.get(&lba).unwrap_or(&[0; SECTOR_LEN]);
        (from..from + count).flat_map(sector).collect()
    }

    fn write(&mut self, lba: u64, data: &[u8]) {
        let data = data.as_chunks::<SECTOR_LEN>().0;
        let chosen = (lba / data.len().max(1) as u64).is_multiple_of(ONE_OF);
        let lost = match self.lie {
            Lie::Lose => chosen,
            // Keeps only the first write to it.
            Lie::Stale => chosen && self.sectors.contains_key(&lba),
            _ => false,
        };
        if !lost {
            self.sectors.extend((lba..).zip(data.iter().copied()));
        }
    }
}

fn identity() -> Identity {
    let names = Names { serial: Text::new("memory"), firmware: Text::new(""), model: Text::new("memory") };
    Identity { names, sectors: SIZE, physical_bytes: 512, trims: false, write_cache: false }
}
