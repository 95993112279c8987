//! One line of a trace, and how it is made of what a worker tells.

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
    /// Something was not told.
    Missed(Missed),
    /// Something is told.
    Told(Box<TraceEvent>),
}

/// What was not told.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Missed {
    /// How many requests and frames, since the last such line.
    pub missed: u64,
}

/// A request, or a frame that was dropped. What is not known is left out.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Default, Debug)]
#[serde(rename_all = "kebab-case")]
pub struct TraceEvent {
    /// When it was dealt with: UTC, RFC 3339 with nanoseconds.
    pub time: String,
    /// The interface that it came in on.
    pub interface: String,
    /// The lane that it came in on.
    pub lane: u16,
    /// The MAC address of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where it was sent; of a request that was answered, who answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What it asks for: `read`, `write`…
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The first sector, of a read or a write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lba: Option<u64>,
    /// How many sectors, of a read or a write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sectors: Option<u8>,
    /// The mark of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<u32>,
    /// How it ended: `ok`, `error` or `unanswered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Of an error, what the host was told: `ata-0x10`, `aoe-6`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// From the rx ring to its end, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_ns: Option<u64>,
    /// What the store took of that, in nanoseconds, if it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_ns: Option<u64>,
    /// Why it was dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
    /// Of a dropped frame, how many bytes it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
    /// Of a dropped frame, how it begins, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
}

/// What is told of a request or a frame, if it is for `only`.
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
    /// The bytes of a request that was dealt with are those of the answer, or its
    /// own, if it got none.
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

    /// The bytes are those from the wire, whatever they are.
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

/// What a host was told of an error.
fn code(response: &Response<'_>) -> Option<String> {
    if let Some(refusal) = response.refusal() {
        return Some(format!("aoe-{}", u8::from(refusal)));
    }
    let (reply, _) = response.ata().filter(|(reply, _)| !reply.is_good())?;
    Some(format!("ata-{:#04x}", reply.error))
}

fn time(at: SystemTime) -> String {
    // A time that is out of every calendar is not worth a lost line.
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
    /// The bytes of a frame that was dropped, and when that was.
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
