//! The lines of a trace, and how they are made from worker events.

use std::fmt::Write as _;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::observe::Operation;
use crate::wire::aoe::{self, Address, Header};
use crate::wire::{Body, DropReason, Request, Response, ata};
use crate::worker::{TraceOutcome, Traced};

/// One line of a trace.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(untagged)]
pub enum Line {
    /// Events were lost.
    Missed(Missed),
    /// An event.
    Told(Box<TraceEvent>),
}

/// The number of lost events.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Missed {
    /// Requests and frames lost since the last such line.
    pub missed: u64,
}

/// A request, or a dropped frame. Unknown fields are left out.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Default, Debug)]
#[serde(rename_all = "kebab-case")]
pub struct TraceEvent {
    /// When it was handled: UTC, RFC 3339 with nanoseconds.
    pub time: String,
    /// The interface on which it arrived.
    pub interface: String,
    /// The lane on which it arrived.
    pub lane: u16,
    /// The MAC address of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The destination; for an answered request, the address that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The command: `read`, `write`…
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The first sector of a read or a write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lba: Option<u64>,
    /// The number of sectors of a read or a write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sectors: Option<u8>,
    /// The tag set by the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<u32>,
    /// The outcome: `ok`, `error` or `unanswered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The error code sent to the host: `ata-0x10`, `aoe-6`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Time from the rx ring to completion, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_ns: Option<u64>,
    /// The part of it spent in the store, in nanoseconds, if the store was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_ns: Option<u64>,
    /// Why the frame was dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
    /// The length of a dropped frame, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
    /// The first bytes of a dropped frame, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
}

/// The line for an event, unless it is for another export than `only`.
pub fn line_of(traced: &Traced, interfaces: &[String], only: Option<Address>) -> Option<TraceEvent> {
    let bytes = traced.bytes.get(..traced.captured.into()).unwrap_or_default();
    let mut event = TraceEvent {
        time: time(traced.at),
        interface: interfaces.get(usize::from(traced.lane)).cloned().unwrap_or_default(),
        lane: traced.lane,
        ..TraceEvent::default()
    };
    let header = match traced.what {
        TraceOutcome::Request { operation, asked, outcome, service_ns, store_ns } => {
            event.outcome = Some(outcome.name().to_owned());
            (event.service_ns, event.store_ns) = (Some(service_ns), Some(store_ns).filter(|ns| *ns > 0));
            event.dealt_with(bytes, operation, asked)
        }
        TraceOutcome::Dropped(reason) => {
            event.dropped = Some(reason.name().replace('_', "-"));
            (event.length, event.bytes) = (Some(traced.len), Some(hex(bytes)));
            event.not_answered(bytes, traced.len)
        }
    };
    let is_for = |only: Address| header.is_some_and(|header| header.is_for(only));
    only.is_none_or(is_for).then_some(event)
}

impl TraceEvent {
    /// Fills in a request that was handled. `bytes` are those of the answer, or those of
    /// the request if it got none.
    fn dealt_with(
        &mut self,
        bytes: &[u8],
        operation: Operation,
        asked: Option<ata::Request>,
    ) -> Option<Header> {
        let response = Response::parse(bytes).ok();
        let header = match &response {
            Some(response) => response.header,
            None => Header::parse(bytes).ok()?,
        };
        let host = if response.is_some() { header.ether.dst } else { header.ether.src };
        self.host = Some(host.to_string());
        self.addressed(&header);
        match asked {
            Some(ata) => self.asks(&ata),
            None if header.command == aoe::Command::Ata => self.command = Some(operation.name().to_owned()),
            None => {}
        }
        self.code = response.as_ref().and_then(code);
        Some(header)
    }

    /// Fills in a dropped frame. `bytes` are as received, and may be anything.
    fn not_answered(&mut self, bytes: &[u8], len: u32) -> Option<Header> {
        let parsed = match Header::parse(bytes) {
            Err(DropReason::Response) => Response::parse(bytes).map(|response| response.header),
            parsed => parsed,
        };
        let header = parsed.ok()?;
        self.host = Some(header.ether.src.to_string());
        self.addressed(&header);
        if let Ok(Request { body: Body::Ata { ata, .. }, .. }) = Request::parse(&header, bytes, len as usize)
        {
            self.asks(&ata);
        }
        Some(header)
    }

    fn addressed(&mut self, header: &Header) {
        self.address = Some(Address { shelf: header.shelf, slot: header.slot }.to_string());
        self.tag = Some(header.tag);
        self.command = match header.command {
            aoe::Command::Ata => Some("ata".to_owned()),
            aoe::Command::Query => Some("query".to_owned()),
            aoe::Command::Mask => Some("mask".to_owned()),
            aoe::Command::Reserve => Some("reserve".to_owned()),
            aoe::Command::Unknown(code) => Some(format!("aoe-{code}")),
        };
    }

    fn asks(&mut self, ata: &ata::Request) {
        self.command = Some(match ata.command {
            ata::Command::DataSetManagement => "trim".to_owned(),
            ata::Command::FlushCache | ata::Command::FlushCacheExt => "flush".to_owned(),
            ata::Command::Identify => "identify".to_owned(),
            ata::Command::CheckPowerMode => "check-power-mode".to_owned(),
            ata::Command::SetFeatures => "set-features".to_owned(),
            ata::Command::Unknown(opcode) => format!("ata-{opcode:#04x}"),
            command if command.direction() == ata::Direction::Read => "read".to_owned(),
            _ => "write".to_owned(),
        });
        let moves = !matches!(ata.command.direction(), ata::Direction::None);
        if moves && ata.command != ata::Command::DataSetManagement {
            (self.lba, self.sectors) = (Some(ata.lba()), Some(ata.count));
        }
    }
}

/// The error code sent to the host.
fn code(response: &Response<'_>) -> Option<String> {
    if let Some(refusal) = response.refusal() {
        return Some(format!("aoe-{}", u8::from(refusal)));
    }
    let (reply, _) = response.ata().filter(|(reply, _)| !reply.is_good())?;
    Some(format!("ata-{:#04x}", reply.error))
}

fn time(at: SystemTime) -> String {
    // An unrepresentable time is not worth losing the line.
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{at:.9}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl TraceEvent {
    /// The time, the length and the captured bytes of a dropped frame.
    pub fn frame(&self) -> Option<(Timestamp, u32, Vec<u8>)> {
        let (Some(text), Some(len)) = (&self.bytes, self.length) else { return None };
        let pair = |at| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes = (0..text.len()).step_by(2).map(pair).collect::<Option<Vec<u8>>>()?;
        Some((self.time.parse().ok()?, len, bytes))
    }
}

#[cfg(test)]
#[path = "line/tests.rs"]
mod tests;
