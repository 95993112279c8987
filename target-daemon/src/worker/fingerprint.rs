//! What a request does to its export, so that two of them can be compared.

use std::hash::Hasher;

use twox_hash::XxHash3_64;
use twox_hash::xxhash3_64::{RawHasher, SecretBuffer};

use crate::plant::{Bug, planted};
use crate::ring::{Frame, Umem};
use crate::store::{Geometry, Kind, SECTOR_BYTES, Span};

/// What a request does. Two writes that are equal here do the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    /// What the store does.
    pub kind: Kind,
    /// First sector.
    pub sector: u64,
    /// Length of the data.
    pub bytes: u32,
    /// Of the data of a write; else 0.
    pub hash: u64,
}

impl Fingerprint {
    /// The content of a request, whose data is in a frame from `offset` on.
    pub fn of(kind: Kind, sector: u64, bytes: u32, frame: &Frame, offset: u16, umem: &Umem) -> Self {
        let data = kind.writes().then(|| hash(frame, offset.into(), bytes as usize, umem));
        Self { kind, sector, bytes, hash: data.unwrap_or(0) }
    }

    /// The sectors that it must have to itself, if any.
    pub fn span(&self, geometry: Geometry) -> Option<Span> {
        let writes = self.kind.writes();
        match self.kind {
            Kind::Read | Kind::Write => {
                let end = self.sector.saturating_add(u64::from(self.bytes) / SECTOR_BYTES);
                Some(Span { first: self.sector, end, writes }.in_blocks_of(geometry))
            }
            // Its ranges are in its data, and it is rare.
            Kind::Discard if planted(Bug::DiscardLocksOneSector) => Some(Span { first: 0, end: 1, writes }),
            Kind::Discard => Some(Span::everything(writes)),
            // It makes stable what has been acknowledged: the store sees to
            // that by itself.
            Kind::Flush => None,
            Kind::Measure => None,
        }
    }
}

/// The hash of these bytes of a frame. It depends on the bytes only, not on how
/// the frame is cut into pieces: a copy may come in on a lane that cuts them
/// elsewhere. The state of the hash lies on the stack.
///
/// Who makes two writes with one hash deceives nobody but himself: both are his
/// own, or he may write to the export just as well.
fn hash(frame: &Frame, offset: usize, bytes: usize, umem: &Umem) -> u64 {
    if let Some(data) = umem.piece(frame, 0).get(offset..offset + bytes) {
        return XxHash3_64::oneshot(data);
    }
    let (mut skip, mut left) = (offset, bytes);
    let mut state = RawHasher::new(SecretBuffer::default());
    for at in 0..frame.pieces() {
        let piece = umem.piece(frame, at);
        let skipped = skip.min(piece.len());
        let taken = left.min(piece.len() - skipped);
        state.write(piece.get(skipped..skipped + taken).unwrap_or(&[]));
        skip -= skipped;
        left -= taken;
    }
    state.finish()
}
