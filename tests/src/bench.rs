//! Sends requests to a target and checks the replies.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use xblade::wire::DropReason;

use crate::frame::{ATA, Ask, ata, ata_done};
use crate::{Address, BROADCAST, SENTINEL, SENTINEL_HOST, Stand, Target, frame, pattern};

/// Maximum wait for a reply that must come. Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(2);

/// As many exports as a stand has, and one.
const EXPORTS: usize = 6;

/// How a bench's initiators reach the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Variant {
    /// MTU of the link.
    pub mtu: u32,
    /// VLAN tags of every request, as TPID and TCI.
    pub vlan: &'static [u8],
}

impl Variant {
    /// MTU 1500 and 9000; untagged, and with one and two tags.
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

    /// Maximum number of sectors in a frame that is advertised.
    pub fn sectors(self) -> u8 {
        if self.mtu < 9000 { 2 } else { 16 }
    }

    /// Number of sectors that fit in a frame, whatever is advertised.
    pub fn sectors_fitting(self) -> u8 {
        if self.mtu < 9000 { 2 } else { 17 }
    }

    /// Maximum length of a frame, without its tags, that passes any link: some count the
    /// tags as part of the MTU.
    pub fn frame_len_max(self) -> usize {
        self.mtu as usize + 14 - self.vlan.len()
    }
}

/// A target serving a test stand.
pub struct Bench<'a> {
    target: &'a mut dyn Target,
    /// The images behind its exports.
    pub stand: &'a Stand,
    /// How it is reached.
    pub variant: Variant,
}

/// A tag that no request of this process has had yet. If a target has just answered a
/// request with the same tag, it would take the new one for a duplicate.
fn next_tag() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0x0001_0000);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

impl<'a> Bench<'a> {
    /// A bench for a target that serves this stand.
    pub fn new(target: &'a mut dyn Target, stand: &'a Stand, variant: Variant) -> Self {
        Self { target, stand, variant }
    }

    /// Maximum number of sectors in a frame that is advertised.
    pub fn sectors(&self) -> u8 {
        self.variant.sectors()
    }

    /// Whether frames reach the workers without passing the kernel, so that its filter
    /// does not hide theirs.
    pub fn is_fake(&self) -> bool {
        self.target.drops().is_some()
    }

    /// A request with the VLAN tags of this bench and a new tag.
    pub fn ask(&mut self, to: Address, command: u8, argument: impl Into<Vec<u8>>) -> Ask {
        Ask { tag: next_tag(), vlan: self.variant.vlan.to_vec(), ..Ask::new(to, command, argument) }
    }

    /// Sends a frame and returns everything the target sends in response, without waiting
    /// for silence. A worker sends all replies of a turn together, in any order. So if
    /// the frame gets a reply, it has been sent by the time that a later request, and
    /// another one sent after the reply to that, have been answered. A request to several
    /// exports takes a turn for each of them, at most.
    pub fn exchange(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        self.target.send(frame);
        let mut replies = self.until_answered(frame);
        for _ in 0..EXPORTS {
            replies.extend(self.until_answered(frame));
        }
        replies
    }

    /// Sends a request from another host, and returns what arrives before its reply.
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
                // May arrive at any time: a size has changed.
                Some(reply) if is_announcement(&reply) => {}
                Some(reply) => replies.push(reply),
                None => panic!("the target answers no more; last to {}", hex(frame)),
            }
        }
    }

    /// Sends a request; the next [`Self::exchange`] returns its replies.
    pub fn send(&mut self, ask: &Ask) {
        self.target.send(&ask.bytes());
    }

    /// Expects exactly these replies, in any order.
    #[track_caller]
    pub fn expect_all(&mut self, ask: &Ask, mut expected: Vec<Vec<u8>>) {
        let mut replies = self.exchange(&ask.bytes());
        replies.sort();
        expected.sort();
        if replies != expected {
            panic!("{}", difference(ask, &replies, &expected));
        }
    }

    /// Expects exactly this reply.
    #[track_caller]
    pub fn expect(&mut self, ask: &Ask, expected: Vec<u8>) {
        self.expect_all(ask, vec![expected]);
    }

    /// Expects no reply, and that each of these reasons is counted once.
    #[track_caller]
    pub fn silence(&mut self, frame: &[u8], reasons: &[DropReason]) {
        let before = self.target.drops();
        let replies = self.exchange(frame);
        if let Some(reply) = replies.first() {
            panic!("{} must not be answered, but is: {}", hex(frame), hex(reply));
        }
        let (Some(before), Some(mut after)) = (before, self.target.drops()) else { return };
        for reason in reasons {
            after[*reason as usize] -= 1;
        }
        let names = DropReason::NAMES;
        let told = |counts: [u64; DropReason::NAMES.len()]| {
            names.into_iter().zip(counts).filter(|(_, n)| *n > 0).collect::<Vec<_>>()
        };
        assert_eq!(told(after), told(before), "drop counters (less {reasons:?}) after {}", hex(frame));
    }

    /// Sends an ATA request; expects a reply with this status, error and data.
    #[track_caller]
    pub fn ata(&mut self, to: Address, argument: Vec<u8>, status: u8, error: u8, data: &[u8]) {
        let ask = self.ask(to, ATA, argument);
        let expected = ask.reply(to, &ata_done(&ask.argument, status, error, data));
        self.expect(&ask, expected);
    }

    /// Sends a query; expects a reply with this string.
    #[track_caller]
    pub fn query(&mut self, to: Address, argument: Vec<u8>, string: &[u8]) {
        let ask = self.ask(to, frame::QUERY, argument);
        let code = ask.argument[5] & 0x0f;
        let expected = ask.reply(to, &frame::query_done(64, self.sectors(), code, string));
        self.expect(&ask, expected);
    }

    /// Reads sectors; expects them to exist and the status to be good.
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

/// Whether a frame is an unsolicited broadcast announcement.
fn is_announcement(frame: &[u8]) -> bool {
    let at = if frame.get(12..14) == Some(&[0x81, 0x00]) { 16 } else { 12 };
    frame.starts_with(&BROADCAST)
        && frame.get(at..at + 2) == Some(&[0x88, 0xA2])
        && frame.get(at + 8..at + 12) == Some(&[0; 4])
}

/// Describes how two sets of replies differ.
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
