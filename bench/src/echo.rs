//! `xblade-bench echo`: the ceiling of the path. It uses the XDP program, loader and
//! rings of the daemon, with the least that an initiator can work with: requests are
//! turned into replies in place, and no data is touched.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xblade_link::{Facts, Mode, Program};
use xblade_ring::{BATCH, Frame, Lane, Rings, TxFull, XskRings};
use xblade_wire::aoe::Header;
use xblade_wire::ether::Mac;
use xblade_wire::identify::{Identity, Names, Text};
use xblade_wire::query::{self, Advert};
use xblade_wire::{Body, FRAME_LEN_MIN, Reply, Request, ata};

use crate::aoe::{Address, DATA_AT, Opcode, SECTOR};
use crate::args::EchoArgs;
use crate::{cores, port, signals};

/// Entries of the rx and tx rings.
const RING: u32 = 512;
/// The size of the export in sectors: 1 GiB.
const SECTORS: u64 = 1 << 21;
/// How long to poll for requests before sleeping, as in the daemon.
const SPIN: Duration = Duration::from_micros(50);
/// Maximum sleep, and so the maximum delay of an interrupt.
const SLEEP: Duration = Duration::from_millis(100);

/// Answers until interrupted.
pub fn run(args: &EchoArgs) -> Result<()> {
    let stop = signals::on_interrupt()?;
    cores::pin(args.cpu)?;
    let facts = Facts::read(&args.interface)?;
    let mut lane = port::lane(&facts, 0, RING)?;
    let mut program = Program::load(&facts, &[], 0, 1)?;
    program.register(0, None, &lane.fd().context("the lane has no socket")?)?;
    program.attach(&facts, Mode::Auto)?;
    let echo = Echo::new(args, &facts);
    eprintln!(
        "echo at {} on {}: {} sectors a frame, XDP in {} mode",
        echo.address, facts.name, echo.advert.sectors_per_frame, program.mode
    );
    echo.serve(&mut lane, args.spin, &stop)
}

/// The target that answers, and what it advertises.
struct Echo {
    own: Mac,
    address: Address,
    /// The number of exports; each has the next slot.
    exports: u8,
    advert: Advert,
    identity: Identity,
}

impl Echo {
    fn new(args: &EchoArgs, facts: &Facts) -> Self {
        Self {
            own: Mac(facts.mac),
            address: args.export,
            exports: args.exports,
            advert: Advert {
                buffer_count: args.buffer_count,
                firmware: 0,
                sectors_per_frame: xblade_target::shelf::sectors_per_frame(facts.mtu),
            },
            identity: Identity {
                names: Names {
                    serial: Text::new("echo"),
                    firmware: Text::new(""),
                    model: Text::new("xblade-bench echo"),
                },
                sectors: SECTORS,
                physical_bytes: 512,
                trims: false,
                write_cache: false,
            },
        }
    }

    fn serve(&self, lane: &mut Lane<XskRings>, spin: bool, stop: &AtomicBool) -> Result<()> {
        let mut frames = Vec::with_capacity(BATCH);
        let mut busy_at = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            if self.turn(lane, &mut frames)? > 0 {
                busy_at = Instant::now();
            } else if !spin
                && busy_at.elapsed() > SPIN
                && let Some(fd) = lane.fd()
            {
                port::poll(fd, SLEEP).context("cannot wait for requests")?;
            }
        }
        Ok(())
    }

    /// Receives a batch and answers it; returns how many frames it had.
    fn turn<R: Rings>(&self, lane: &mut Lane<R>, frames: &mut Vec<Frame>) -> Result<usize> {
        lane.reclaim();
        let n = lane.receive(frames);
        for mut frame in frames.drain(..) {
            let refused = match self.answer(lane, &mut frame) {
                Some(()) => lane.transmit(frame).err(),
                None => Some(TxFull(frame)),
            };
            // The initiator resends a request without an answer.
            if let Some(TxFull(frame)) = refused {
                lane.release(frame);
            }
        }
        if n > 0 {
            lane.refill();
        }
        lane.flush().context("cannot send")?;
        Ok(n)
    }

    /// Turns a request into its reply; `None` if it gets none.
    fn answer<R: Rings>(&self, lane: &mut Lane<R>, frame: &mut Frame) -> Option<()> {
        let head = lane.umem().piece(frame, 0);
        let plain_ata = head.get(12..14) == Some(&[0x88, 0xA2]) && head.get(19) == Some(&0);
        let bytes = match *head.get(27)? {
            // READ SECTORS, with and without EXT.
            0x20 | 0x24 if plain_ata => {
                let sectors = usize::from(*head.get(26)?);
                lane.move_to_hot_chunk(frame);
                DATA_AT + sectors * SECTOR
            }
            // WRITE SECTORS.
            0x30 | 0x34 if plain_ata => FRAME_LEN_MIN,
            _ => return self.answer_fully(lane, frame),
        };
        lane.resize(frame, bytes).ok()?;
        self.turn_round(lane.umem().piece_mut(frame, 0))
    }

    /// The minimum that turns an ATA request into a reply.
    fn turn_round(&self, frame: &mut [u8]) -> Option<()> {
        let head: &mut [u8; DATA_AT] = frame.first_chunk_mut()?;
        head.copy_within(6..12, 0);
        head[6..12].copy_from_slice(&self.own.0);
        head[14] |= 0x08; // response
        head[25] = 0; // error
        head[26] = 0; // sectors left
        head[27] = ata::status::GOOD;
        Some(())
    }

    /// Full answers to what comes before the load: queries and IDENTIFY DEVICE.
    fn answer_fully<R: Rings>(&self, lane: &mut Lane<R>, frame: &mut Frame) -> Option<()> {
        let head = lane.umem().piece(frame, 0);
        let header = Header::parse(head).ok()?;
        let address = self.addressed(&header)?;
        let reply = match Request::parse(&header, head, frame.len()).ok()?.body {
            Body::Query(query::Request::Read) => {
                Reply::Query(query::Reply { code: 0, advert: self.advert, string: b"", refusal: None })
            }
            Body::Ata { ata, .. } if ata.command == Opcode::Identify => {
                Reply::Identify(ata.reply(ata::status::GOOD, ata::error::NONE), self.identity)
            }
            _ => return None,
        };
        lane.resize(frame, reply.frame_len(header.l2_len())).ok()?;
        reply.emit(&header, self.own, address, lane.umem().piece_mut(frame, 0)).map(|_| ())
    }

    /// The export that answers; the first one to what is for all.
    fn addressed(&self, header: &Header) -> Option<Address> {
        let slots = (self.address.slot..=u8::MAX).take(self.exports.into());
        let mut own = slots.map(|slot| Address { slot, ..self.address });
        own.find(|address| header.is_for(*address))
    }
}

#[cfg(test)]
mod tests {
    use xblade_sim::FakeRings;

    use super::*;
    use crate::aoe::{self, Ata, Response, Route};

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 2]);

    /// The echo's answer to a frame, with 16 sectors per frame.
    fn answer_to(request: &[u8]) -> Option<Vec<u8>> {
        let (mut lane, wire) = FakeRings::open(64, 4096, 16).unwrap();
        let text = |t| Text::new(t);
        let echo = Echo {
            own: OURS,
            address: Address { shelf: 0, slot: 1 },
            exports: 2,
            advert: Advert { buffer_count: 64, firmware: 0, sectors_per_frame: 16 },
            identity: Identity {
                names: Names { serial: text("s"), firmware: Text::new("f"), model: Text::new("m") },
                sectors: 1000,
                physical_bytes: 512,
                trims: false,
                write_cache: false,
            },
        };
        assert!(wire.deliver(request));
        echo.turn(&mut lane, &mut Vec::new()).unwrap();
        let sent = wire.sent();
        lane.reclaim();
        assert_eq!(lane.check(0), Ok(()));
        sent
    }

    #[test]
    fn replies_have_the_shape_that_an_initiator_wants() {
        let route = Route { from: THEIRS, to: OURS, address: Address { shelf: 0, slot: 1 } };
        let read = |sectors| Ata { command: Opcode::ReadSectorsExt, lba: 5, sectors };
        let write =
            [&route.ata(Ata { command: Opcode::WriteSectorsExt, ..read(16) }, 9)[..36], &[7; 8192]].concat();
        let identify = Ata { command: Opcode::Identify, lba: 0, sectors: 1 };
        for (request, len) in [
            (route.ata(read(2), 9).to_vec(), 36 + 1024),
            (route.ata(read(16), 9).to_vec(), 36 + 8192),
            (write, 60),
            (route.ata(identify, 9).to_vec(), 36 + 512),
        ] {
            let reply = answer_to(&request).unwrap();
            let response = Response::parse(&reply).unwrap();
            let (ata, _) = response.ata().unwrap();
            assert!(ata.is_good() && response.refusal().is_none());
            assert_eq!((reply.len(), response.header.tag), (len, 9));
            assert_eq!((response.header.ether.src, response.header.ether.dst), (OURS, THEIRS));
        }
    }

    #[test]
    fn queries_to_everybody_are_answered_and_those_to_others_are_not() {
        let slot = |slot| Address { shelf: 0, slot };
        for (address, by) in [(aoe::ANY, Some(1)), (slot(2), Some(2)), (slot(3), None), (slot(0), None)] {
            let route = Route { from: THEIRS, to: Mac::BROADCAST, address };
            let told = answer_to(&route.query(3));
            assert_eq!(told.is_some(), by.is_some());
            if let Some(told) = told {
                let response = Response::parse(&told).unwrap();
                assert_eq!(response.query().unwrap().advert.sectors_per_frame, 16);
                assert_eq!(response.header.address(), slot(by.unwrap()));
            }
        }
    }
}
