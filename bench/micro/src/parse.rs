//! Parsing: from bytes to a request.

use std::hint::black_box;

use xblade_target::worker::{Directory, Owner};
use xblade_wire::aoe::{Address, Header};
use xblade_wire::{DropReason, Request};

use crate::frames::{self, EXPORT, TARGET};
use crate::{BATCH, Case};

/// Parses the header of a frame, decides whether it is for us, and parses the request.
pub struct Parse {
    /// The first piece of the frame.
    head: Vec<u8>,
    total_len: usize,
}

impl Parse {
    /// For a request whose first piece has at most this length.
    pub fn new(request: &Request<'_>, piece_len: usize) -> Self {
        let mut head = frames::frame(request, 0);
        let total_len = head.len();
        head.truncate(piece_len);
        let parse = Self { head, total_len };
        assert_eq!(parse.parse().map(|parsed| parsed.header), Ok(request.header));
        parse
    }

    fn parse(&self) -> Result<Request<'_>, DropReason> {
        let head = black_box(self.head.as_slice());
        let header = Header::parse(head)?;
        header.check_link(TARGET)?;
        Request::parse(&header, head, self.total_len)
    }
}

impl Case for Parse {
    fn run(&mut self) {
        for _ in 0..BATCH {
            black_box(&self.parse());
        }
    }
}

/// A broadcast for an export that is not here. Only the header and the directory are
/// read.
pub struct ForAnother {
    frame: Vec<u8>,
    directory: Directory,
}

impl ForAnother {
    /// With eight other exports.
    pub fn new() -> Self {
        let row = |slot| (Address { slot, ..EXPORT }, Owner { worker: 0, export: slot.into() });
        let this = Self {
            frame: frames::frame(&frames::for_another(), 0),
            directory: Directory::new((0..8).map(row).collect()),
        };
        assert_eq!(this.find(), Ok(None));
        this
    }

    fn find(&self) -> Result<Option<Owner>, DropReason> {
        let header = Header::parse(black_box(&self.frame))?;
        header.check_link(TARGET)?;
        Ok(self.directory.owner(header.address()))
    }
}

impl Case for ForAnother {
    fn run(&mut self) {
        for _ in 0..BATCH {
            black_box(&self.find());
        }
    }
}
