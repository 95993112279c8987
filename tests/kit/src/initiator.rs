//! An initiator: AoE requests through an AF_PACKET socket.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use xblade_wire::aoe::{Address, Command, Header, Role, SHELF_ANY, SLOT_ANY};
use xblade_wire::ata;
use xblade_wire::ether::{Ether, Mac, Tags};
use xblade_wire::identify::Identity;
use xblade_wire::query::{self, Advert};
use xblade_wire::{Body, Request, Response};

use crate::namespace::{PATIENCE, Space};
use crate::packet::PacketSocket;

/// How an ATA command ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The status register.
    pub status: u8,
    /// The error register.
    pub error: u8,
    /// What follows the ATA header.
    pub data: Vec<u8>,
    /// The target.
    pub from: Mac,
}

impl Answer {
    /// Whether the command succeeded: DRDY, and neither ERR nor DF.
    pub fn is_success(&self) -> bool {
        self.status & 0x61 == 0x40 && self.error == 0
    }

    fn parse(frame: &[u8]) -> Self {
        let response = Response::parse(frame).unwrap();
        let (reply, data) = response.ata().expect("an ATA reply, not a refusal");
        let from = response.header.ether.src;
        Self { status: reply.status, error: reply.error, data: data.to_vec(), from }
    }
}

/// An unsolicited announcement of an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// The export.
    pub address: Address,
    /// The target.
    pub from: Mac,
    /// One host, or broadcast.
    pub to: Mac,
    /// The VLAN tags.
    pub tags: Tags,
    /// What it offers.
    pub advert: Advert,
}

/// A host that sends requests and waits for the replies.
pub struct Initiator {
    socket: PacketSocket,
    /// The destination of its requests.
    pub target: Mac,
    /// The source address of its requests.
    pub mac: Mac,
    /// VLAN tags of its requests.
    pub tags: Tags,
    next_tag: u32,
    /// Frames that arrived while waiting for others, oldest first.
    heard: VecDeque<Vec<u8>>,
}

/// When a write is resent.
const RESEND: Duration = Duration::from_secs(5);

/// How often it is sent before it counts as lost.
const RESENDS_MAX: u32 = 12;

impl Initiator {
    /// An initiator on an interface in `space`.
    pub fn new(space: &Space, name: &'static str, target: Mac) -> Self {
        let socket = PacketSocket::within(space, name).unwrap();
        let (mac, tags) = (space.mac(name), Tags::NONE);
        Self { socket, target, mac, tags, next_tag: 1, heard: VecDeque::new() }
    }

    /// Starts tags here: several initiators on one interface receive each other's replies.
    pub fn set_next_tag(&mut self, tag: u32) {
        self.next_tag = tag;
    }

    /// The header of the next request.
    fn header(&mut self, Address { shelf, slot }: Address, command: Command) -> Header {
        self.next_tag += 1;
        let ether = Ether { dst: self.target, src: self.mac, tags: self.tags };
        Header { ether, role: Role::Request, shelf, slot, command, tag: self.next_tag }
    }

    /// Sends a request. Returns its tag.
    pub fn send(&mut self, at: Address, command: Command, body: Body<'_>, data: &[u8]) -> u32 {
        let header = self.header(at, command);
        let mut frame = vec![0; 22 + 10 + ata::HEADER_LEN + data.len() + 60];
        let len = Request { header, body }.emit(&mut frame).unwrap();
        let payload = header.argument_offset() + ata::HEADER_LEN;
        if !data.is_empty() {
            frame[payload..payload + data.len()].copy_from_slice(data);
        }
        // A request that cannot be sent while the link is down counts as lost.
        let _ = self.socket.send(&frame[..len]);
        self.next_tag
    }

    /// Sends a request with this argument. Returns its tag.
    pub fn send_argument(&mut self, at: Address, command: Command, argument: &[u8]) -> u32 {
        let mut frame = vec![0; 32];
        let len = self.header(at, command).emit(&mut frame).unwrap();
        frame.truncate(len);
        frame.extend(argument);
        let _ = self.socket.send(&frame);
        self.next_tag
    }

    /// The argument of the reply, if it arrives in time. It must not be a refusal.
    pub(crate) fn argument_within(&mut self, tag: u32, limit: Duration) -> Option<Vec<u8>> {
        let mut frame = self.wait(limit, |response| response.header.tag == tag)?;
        let header = Response::parse(&frame).unwrap().header;
        assert_eq!(header.role, Role::Response, "refused: {frame:02x?}");
        Some(frame.split_off(header.argument_offset()))
    }

    /// Sends a request with this argument, and resends it every second. The argument of the
    /// reply, if one arrives within `limit`.
    pub fn exchange(
        &mut self,
        at: Address,
        command: Command,
        argument: &[u8],
        limit: Duration,
    ) -> Option<Vec<u8>> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let tag = self.send_argument(at, command, argument);
            let reply = self.argument_within(tag, left.min(Duration::from_secs(1)));
            if reply.is_some() {
                return reply;
            }
        }
    }

    /// Sends an ATA command. Returns its tag.
    pub fn send_ata(&mut self, at: Address, command: ata::Command, lba: u64, count: u8, data: &[u8]) -> u32 {
        let registers = ata::Request::registers_of(lba);
        let ata = ata::Request { flags: 0x40, feature: 0, count, command, registers };
        // `send` finds the offset in the header.
        let body = Body::Ata { ata, payload_offset: 0, payload_len: data.len() };
        self.send(at, Command::Ata, body, data)
    }

    /// Sends a read. Returns its tag.
    pub fn send_read(&mut self, at: Address, lba: u64, count: u8) -> u32 {
        self.send_ata(at, ata::Command::ReadSectorsExt, lba, count, &[])
    }

    /// Sends a write. Returns its tag.
    pub fn send_write(&mut self, at: Address, lba: u64, data: &[u8]) -> u32 {
        self.send_ata(at, ata::Command::WriteSectorsExt, lba, (data.len() / 512) as u8, data)
    }

    /// The reply to an ATA command, if it arrives in time.
    pub fn answer_within(&mut self, tag: u32, limit: Duration) -> Option<Answer> {
        self.wait(limit, |response| response.header.tag == tag).map(|frame| Answer::parse(&frame))
    }

    /// The reply to an ATA command.
    pub fn answer(&mut self, tag: u32) -> Answer {
        self.answer_within(tag, PATIENCE).expect("an answer")
    }

    /// The next reply to one of these ATA commands. Drops everything else.
    pub fn next_answer(&mut self, limit: Duration, wanted: impl Fn(u32) -> bool) -> Option<(u32, Answer)> {
        let is_wanted =
            |response: &Response<'_>| response.header.command == Command::Ata && wanted(response.header.tag);
        let frame = self.wait(limit, is_wanted)?;
        self.heard.clear();
        Some((Response::parse(&frame).unwrap().header.tag, Answer::parse(&frame)))
    }

    /// Reads; must succeed.
    pub fn read(&mut self, at: Address, lba: u64, count: u8) -> Vec<u8> {
        let tag = self.send_read(at, lba, count);
        let answer = self.answer(tag);
        assert_eq!((answer.status, answer.error), (0x40, 0), "reading {count} from {lba}");
        answer.data
    }

    /// Writes; must succeed. Resends, as every initiator does: a write for another worker's
    /// export is dropped if it may have waited.
    pub fn write(&mut self, at: Address, lba: u64, data: &[u8]) {
        let try_once = |_| {
            let tag = self.send_write(at, lba, data);
            self.answer_within(tag, RESEND)
        };
        let answer = (0..RESENDS_MAX).find_map(try_once).expect("an answer");
        assert_eq!((answer.status, answer.error), (0x40, 0), "writing {lba}");
    }

    /// Sends a flush. Returns its tag.
    pub fn send_flush(&mut self, at: Address) -> u32 {
        self.send_ata(at, ata::Command::FlushCacheExt, 0, 0, &[])
    }

    /// Its answer to IDENTIFY DEVICE.
    pub fn identify(&mut self, at: Address) -> Identity {
        let tag = self.send_ata(at, ata::Command::Identify, 0, 1, &[]);
        Identity::parse(&self.answer(tag).data).unwrap()
    }

    /// The target that answers a query at an address, and its advertisement.
    pub fn query(&mut self, at: Address, limit: Duration) -> Option<(Mac, Advert)> {
        let tag = self.send(at, Command::Query, Body::Query(query::Request::Read), &[]);
        let frame = self.wait(limit, |response| response.header.tag == tag)?;
        let response = Response::parse(&frame).unwrap();
        Some((response.header.ether.src, response.query().unwrap().advert))
    }

    /// Queries all exports on the segment. Returns the tag.
    pub fn send_query_to_all(&mut self) -> u32 {
        let target = std::mem::replace(&mut self.target, Mac::BROADCAST);
        let everybody = Address { shelf: SHELF_ANY, slot: SLOT_ANY };
        let tag = self.send(everybody, Command::Query, Body::Query(query::Request::Read), &[]);
        self.target = target;
        tag
    }

    /// The number of replies with this tag: waits for `wanted` of them, and a moment longer
    /// for an extra one.
    pub fn count(&mut self, tag: u32, wanted: usize) -> usize {
        let mut came = 0;
        let mut limit = PATIENCE;
        while self.wait(limit, |response| response.header.tag == tag).is_some() {
            came += 1;
            if came >= wanted {
                limit = Duration::from_millis(50);
            }
        }
        came
    }

    /// The number of responses of any kind within a time.
    pub fn frames(&mut self, limit: Duration) -> usize {
        let _ = self.wait(limit, |_| false);
        self.heard.len()
    }

    /// Repeats a query, as initiators do, until it is answered.
    pub fn until_served(&mut self, at: Address) {
        let end = Instant::now() + PATIENCE;
        while self.query(at, Duration::from_millis(50)).is_none() {
            assert!(Instant::now() < end, "{at} is not served");
        }
    }

    /// Fails if a request at this address is answered.
    pub fn assert_silence(&mut self, at: Address) {
        assert_eq!(self.query(at, Duration::from_millis(100)), None, "{at} should not be answered");
    }

    /// The next announcement, if one arrives in time.
    pub fn announcement(&mut self, limit: Duration) -> Option<Announcement> {
        let told = |response: &Response<'_>| response.header.tag == 0 && response.query().is_some();
        let frame = self.wait(limit, told)?;
        let response = Response::parse(&frame).unwrap();
        let Header { ether, shelf, slot, .. } = response.header;
        let advert = response.query().unwrap().advert;
        let Ether { dst, src, tags } = ether;
        Some(Announcement { address: Address { shelf, slot }, from: src, to: dst, tags, advert })
    }

    /// Drops everything received so far.
    pub fn clear(&mut self) {
        let _ = self.wait(Duration::ZERO, |_| false);
        self.heard.clear();
    }

    /// The first matching response, of those received and those to come.
    pub fn wait(&mut self, limit: Duration, wanted: impl Fn(&Response<'_>) -> bool) -> Option<Vec<u8>> {
        let is_wanted = |frame: &Vec<u8>| Response::parse(frame).is_ok_and(|response| wanted(&response));
        if let Some(at) = self.heard.iter().position(is_wanted) {
            return self.heard.remove(at);
        }
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.socket.receive(left) {
                Ok(Some(frame)) if is_wanted(&frame) => return Some(frame),
                Ok(Some(mut frame)) => {
                    // It was received into a buffer for the longest.
                    frame.shrink_to_fit();
                    self.heard.push_back(frame);
                }
                Ok(None) => return None,
                // Reported once when the interface goes down.
                Err(e) if e.raw_os_error() == Some(libc::ENETDOWN) => {}
                Err(e) => panic!("{e}"),
            }
        }
    }
}

/// Shorthand for an address.
pub const fn at(shelf: u16, slot: u8) -> Address {
    Address { shelf, slot }
}
