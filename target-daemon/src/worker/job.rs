//! What travels between the worker that received a request and the one that
//! owns its export. Within one worker the same values are passed by hand.

use crate::observe::Operation;
use crate::ring::Frame;
use crate::wire::aoe::Header;

/// A request on its way to the owner of its export.
#[derive(Debug)]
pub struct Job {
    /// The request. Its frame has room for the reply already: only the worker
    /// of its lane can make it longer.
    pub frame: Frame,
    /// Its header.
    pub header: Header,
    /// The lane that it came in on, among all lanes.
    pub lane: u16,
    /// The export, in its owner's shelf.
    pub export: u16,
    /// Length of the request in bytes.
    pub request_len: u32,
    /// When it was received, in nanoseconds of the worker's clock.
    pub received_ns: u64,
}

/// A request that was dealt with, on its way back to its lane.
#[derive(Debug)]
pub struct Done {
    /// The reply, in place of the request.
    pub frame: Frame,
    /// The lane that it leaves by.
    pub lane: u16,
    /// Length of the reply; `None` for no reply.
    pub reply_len: Option<u32>,
    /// For the service times.
    pub operation: Operation,
    /// From the job.
    pub received_ns: u64,
}

impl Job {
    /// The end of this job.
    pub fn done(self, operation: Operation, reply_len: Option<u32>) -> Done {
        Done { frame: self.frame, lane: self.lane, reply_len, operation, received_ns: self.received_ns }
    }
}
