//! The lines of a trace, and how they are made from worker events.

use std::time::SystemTime;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::wire::aoe::{self, Address, Header};
use crate::wire::{Body, Request, Response, ata};
use crate::worker::{TraceOutcome, Traced};

/// One line of a trace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug)]
#[serde(untagged)]
pub enum Line {
    /// Events were lost.
    Missed {
        /// Requests and frames lost since the last such line.
        missed: u64,
    },
    /// An event.
    Told(Box<TraceEvent>),
}

/// A request, or a dropped frame. Unknown fields are left out.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Eq, Default, Debug)]
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
    /// The frame, if it was dropped.
    #[serde(flatten)]
    pub frame: Option<DroppedFrame>,
}

/// A frame that got no reply.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug)]
pub struct DroppedFrame {
    /// Why it was dropped.
    pub dropped: String,
    /// Its length, in bytes.
    pub length: u32,
    /// Its first bytes, in hex.
    pub bytes: String,
}

/// The line for an event, unless it is for another export than `only`.
pub fn line_of(traced: &Traced, interfaces: &[String], only: Option<Address>) -> Option<TraceEvent> {
    // Those of the answer; without one, those of the request, or as received.
    let bytes = traced.bytes.get(..traced.captured.into()).unwrap_or_default();
    let response = Response::parse(bytes).ok();
    let header = response.as_ref().map(|response| response.header).or_else(|| Header::parse(bytes).ok());
    if !only.is_none_or(|only| header.is_some_and(|header| header.is_for(only))) {
        return None;
    }
    let mut event = TraceEvent {
        time: time(traced.at),
        interface: interfaces.get(usize::from(traced.lane)).cloned().unwrap_or_default(),
        lane: traced.lane,
        ..TraceEvent::default()
    };
    if let Some(header) = &header {
        event.addressed(header);
    }
    match traced.what {
        TraceOutcome::Request { operation, asked, outcome, service_ns, store_ns } => {
            event.outcome = Some(outcome.name().to_owned());
            (event.service_ns, event.store_ns) = (Some(service_ns), Some(store_ns).filter(|ns| *ns > 0));
            if let Some(response) = &response {
                event.host = Some(response.header.ether.dst.to_string());
                event.code = code(response);
            }
            match asked {
                Some(ata) => event.asks(&ata),
                None if header.is_some_and(|header| header.command == aoe::Command::Ata) => {
                    event.command = Some(operation.name().to_owned());
                }
                None => {}
            }
        }
        TraceOutcome::Dropped(reason) => {
            let (dropped, length) = (reason.name().replace('_', "-"), traced.len);
            event.frame = Some(DroppedFrame { dropped, length, bytes: hex::encode(bytes) });
            let request = header.and_then(|header| Request::parse(&header, bytes, traced.len as usize).ok());
            if let Some(Request { body: Body::Ata { ata, .. }, .. }) = request {
                event.asks(&ata);
            }
        }
    }
    Some(event)
}

impl TraceEvent {
    fn addressed(&mut self, header: &Header) {
        self.host = Some(header.ether.src.to_string());
        self.address = Some(header.address().to_string());
        self.tag = Some(header.tag);
        let name = header.command.name().map(str::to_owned);
        self.command = name.or_else(|| Some(format!("aoe-{}", u8::from(header.command))));
    }

    fn asks(&mut self, ata: &ata::Request) {
        use ata::Command::{
            CheckPowerMode, DataSetManagement, FlushCache, FlushCacheExt, Identify, SetFeatures, Unknown,
        };
        let moves = match ata.command.direction() {
            _ if ata.command == DataSetManagement => None,
            ata::Direction::None => None,
            ata::Direction::Read => Some("read"),
            ata::Direction::Write => Some("write"),
        };
        if moves.is_some() {
            (self.lba, self.sectors) = (Some(ata.lba()), Some(ata.count));
        }
        let name = match ata.command {
            DataSetManagement => "trim",
            FlushCache | FlushCacheExt => "flush",
            Identify => "identify",
            CheckPowerMode => "check-power-mode",
            SetFeatures => "set-features",
            Unknown(opcode) => return self.command = Some(format!("ata-{opcode:#04x}")),
            _ => moves.unwrap_or("write"),
        };
        self.command = Some(name.to_owned());
    }

    /// The time, the length and the captured bytes of a dropped frame.
    pub fn captured(&self) -> Option<(Timestamp, u32, Vec<u8>)> {
        let frame = self.frame.as_ref()?;
        Some((self.time.parse().ok()?, frame.length, hex::decode(&frame.bytes).ok()?))
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

#[cfg(test)]
#[path = "line/tests.rs"]
mod tests;
