//! Asks a target and judges the answers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use xblade::wire::DropReason;

use crate::frame::{ATA, Ask, ata, ata_done};
use crate::{Address, BROADCAST, SENTINEL, SENTINEL_HOST, Stand, Target, frame, pattern};

/// Longest wait for the answer that must come. Never waited for unless a test
/// fails.
const PATIENCE: Duration = Duration::from_secs(2);

/// How the initiators of a bench reach the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Variant {
    /// MTU of the link.
    pub mtu: u32,
    /// VLAN tags of every request, as TPID and TCI.
    pub vlan: &'static [u8],
}

impl Variant {
    /// MTU 1500 and 9000; untagged, and behind one and two tags.
    pub const ALL: [Self; 6] = {
        let one: &[u8] = &[0x81, 0x00, 0xE0, 0x64];
        let two: &[u8] = &[0x88, 0xA8, 0x20, 0x07, 0x81, 0x00, 0x60, 0x08];
        [
            Self { mtu: 1500, vlan: &[] },
            Self { mtu: 1500, vlan: one },
            Self { mtu: 1500, vlan: two },
            Self { mtu: 9000, vlan: &[] },
            Self { mtu: 9000, vlan: one },
            Self { mtu: 9000, vlan: two },
        ]
    };

    /// Sectors that a frame may carry.
    pub fn sectors(self) -> u8 {
        if self.mtu < 9000 { 2 } else { 16 }
    }

    /// Sectors that a frame has room for, whatever is advertised.
    pub fn sectors_fitting(self) -> u8 {
        if self.mtu < 9000 { 2 } else { 17 }
    }

    /// Longest frame, without its tags, that any link lets pass: some count
    /// the tags as part of the MTU.
    pub fn frame_len_max(self) -> usize {
        self.mtu as usize + 14 - self.vlan.len()
    }
}

/// A target on a test stand.
pub struct Bench<'a> {
    target: &'a mut dyn Target,
    /// The images behind its exports.
    pub stand: &'a Stand,
    /// How it is reached.
    pub variant: Variant,
}

/// A tag that no request of this process had: a target that has just answered one with
/// this tag would take another for its copy.
fn next_tag() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0x0001_0000);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

impl<'a> Bench<'a> {
    /// A bench for a target that serves this stand.
    pub fn new(target: &'a mut dyn Target, stand: &'a Stand, variant: Variant) -> Self {
        Self { target, stand, variant }
    }

    /// Sectors that a frame may carry.
    pub fn sectors(&self) -> u8 {
        self.variant.sectors()
    }

    /// Whether frames reach the workers past no kernel, so that its filter
    /// does not hide theirs.
    pub fn is_fake(&self) -> bool {
        self.target.drops().is_some()
    }

    /// A request with the tags of this bench, and a tag of its own.
    pub fn ask(&mut self, to: Address, command: u8, argument: impl Into<Vec<u8>>) -> Ask {
        Ask { tag: next_tag(), vlan: self.variant.vlan.to_vec(), ..Ask::new(to, command, argument) }
    }

    /// Sends a frame and returns all that the target has to say to it, without
    /// waiting for silence: a worker sends what comes of a turn together, in any
    /// order, so the frame has been answered, if it is, when a later request has,
    /// and another one that was sent after the answer to that.
    pub fn exchange(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        self.target.send(frame);
        let mut replies = self.until_answered(frame);
        replies.extend(self.until_answered(frame));
        replies
    }

    /// Sends a request of another host, and returns what comes before its answer.
    fn until_answered(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        let argument = ata(0x20, 1, 1, &[]);
        let sentinel =
            Ask { tag: next_tag(), ..Ask::new(SENTINEL, ATA, argument.clone()).from(SENTINEL_HOST) };
        self.target.send(&sentinel.bytes());
        let end = sentinel.reply(SENTINEL, &ata_done(&argument, 0x40, 0, &pattern(SENTINEL.1, 1, 1)));
        let mut replies = Vec::new();
        loop {
            match self.target.next_reply(PATIENCE) {
                Some(reply) if reply == end => return replies,
                // May come at any time: a size has changed.
                Some(reply) if is_announcement(&reply) => {}
                Some(reply) => replies.push(reply),
                None => panic!("the target answers no more; last to {}", hex(frame)),
            }
        }
    }

    /// Sends a request, whose replies come out of the next [`Self::exchange`].
    pub fn send(&mut self, ask: &Ask) {
        self.target.send(&ask.bytes());
    }

    /// Demands exactly these replies, in any order.
    #[track_caller]
    pub fn expect_all(&mut self, ask: &Ask, mut expected: Vec<Vec<u8>>) {
        let mut replies = self.exchange(&ask.bytes());
        replies.sort();
        expected.sort();
        if replies != expected {
            panic!("{}", difference(ask, &replies, &expected));
        }
    }

    /// Demands this one reply.
    #[track_caller]
    pub fn expect(&mut self, ask: &Ask, expected: Vec<u8>) {
        self.expect_all(ask, vec![expected]);
    }

    /// Demands silence, and that each of these is counted once.
    #[track_caller]
    pub fn silence(&mut self, frame: &[u8], reasons: &[DropReason]) {
        let before = self.target.drops();
        let replies = self.exchange(frame);
        if let Some(reply) = replies.first() {
            panic!("{} must not be answered, but is: {}", hex(frame), hex(reply));
        }
        let (Some(before), Some(mut after)) = (before, self.target.drops()) else { return };
        for reason in reasons {
            after[reason.index()] -= 1;
        }
        let names = DropReason::ALL.map(DropReason::name);
        let told = |counts: [u64; DropReason::ALL.len()]| {
            names.into_iter().zip(counts).filter(|(_, n)| *n > 0).collect::<Vec<_>>()
        };
        assert_eq!(told(after), told(before), "drop counters (less {reasons:?}) after {}", hex(frame));
    }

    /// Asks and demands an ATA reply with this status, error and data.
    #[track_caller]
    pub fn ata(&mut self, to: Address, argument: Vec<u8>, status: u8, error: u8, data: &[u8]) {
        let ask = self.ask(to, ATA, argument);
        let expected = ask.reply(to, &ata_done(&ask.argument, status, error, data));
        self.expect(&ask, expected);
    }

    /// Asks and demands a query reply with this string.
    #[track_caller]
    pub fn query(&mut self, to: Address, argument: Vec<u8>, string: &[u8]) {
        let ask = self.ask(to, frame::QUERY, argument);
        let code = ask.argument[5] & 0x0f;
        let expected = ask.reply(to, &frame::query_done(64, self.sectors(), code, string));
        self.expect(&ask, expected);
    }

    /// Reads sectors and demands that they are there and good.
    #[track_caller]
    pub fn read(&mut self, from: Address, lba: u64, count: u8) -> Vec<u8> {
        let ask = self.ask(from, ATA, ata(0x24, lba, count, &[]));
        let replies = self.exchange(&ask.bytes());
        let [reply] = replies.as_slice() else { panic!("{} replies", replies.len()) };
        let data = reply.get(ask.link_len() + 22..).unwrap_or(&[]).to_vec();
        assert_eq!(*reply, ask.reply(from, &ata_done(&ask.argument, 0x40, 0, &data)));
        assert_eq!(data.len(), usize::from(count) * 512);
        data
    }
}

/// Whether a frame tells everybody of an export without being asked.
fn is_announcement(frame: &[u8]) -> bool {
    frame.starts_with(&BROADCAST)
        && frame.get(12..14) == Some(&[0x88, 0xA2])
        && frame.get(20..24) == Some(&[0; 4])
}

/// Where two sets of replies differ.
fn difference(ask: &Ask, replies: &[Vec<u8>], expected: &[Vec<u8>]) -> String {
    let mut text = format!("asked {}", hex(&ask.bytes()));
    for (title, frames) in [("got", replies), ("expected", expected)] {
        text += &format!("\n{title} {} repl{}", frames.len(), if frames.len() == 1 { "y" } else { "ies" });
        for frame in frames {
            text += &format!("\n  {}", hex(frame));
        }
    }
    if let ([reply], [expected]) = (replies, expected) {
        let at = reply.iter().zip(expected).position(|(a, b)| a != b);
        text += &format!("\nfirst different byte: {at:?}; lengths {} and {}", reply.len(), expected.len());
    }
    text
}

fn hex(frame: &[u8]) -> String {
    let text: String = frame.iter().take(80).map(|byte| format!("{byte:02x}")).collect();
    format!("{text}{} ({} bytes)", if frame.len() > 80 { "…" } else { "" }, frame.len())
}
