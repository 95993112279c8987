//! Fingerprints: what a request does to its export, in a form that can be compared.

use std::hash::Hasher;

use twox_hash::xxhash3_64::{RawHasher, SecretBuffer};

use crate::plant::{Bug, planted};
use crate::ring::{self, Frame, Umem};
use crate::store::{Geometry, Kind, SECTOR_BYTES, Span};

/// What a request does. Two writes with equal fingerprints do the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    /// The store operation.
    pub kind: Kind,
    /// First sector.
    pub sector: u64,
    /// Length of the data in bytes.
    pub bytes: u32,
    /// Hash of a write's data; 0 for other requests.
    pub hash: u64,
}

impl Fingerprint {
    /// The fingerprint of a request whose data starts at `offset` in a frame.
    #[inline]
    pub fn of(kind: Kind, sector: u64, bytes: u32, frame: &Frame, offset: u16, umem: &Umem) -> Self {
        let data = kind.writes().then(|| hash(frame, offset.into(), bytes as usize, umem));
        Self { kind, sector, bytes, hash: data.unwrap_or(0) }
    }

    /// The sectors to which it needs exclusive access, if any.
    #[inline]
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
            // It makes acknowledged writes stable; the store orders that itself.
            Kind::Flush => None,
            Kind::Measure => None,
        }
    }
}

/// The hash of these bytes of a frame. It depends only on the bytes, not on how the frame
/// is split into pieces: a duplicate may arrive on a lane that splits it differently.
///
/// A forged collision affects only the sender's own writes, and the sender may write to
/// the export anyway.
#[inline(never)]
fn hash(frame: &Frame, offset: usize, bytes: usize, umem: &Umem) -> u64 {
    ring::hash(parts(frame, offset, bytes, umem)).unwrap_or_else(|| {
        // Its state is on the stack.
        let mut state = RawHasher::new(SecretBuffer::default());
        parts(frame, offset, bytes, umem).for_each(|part| state.write(part));
        state.finish()
    })
}

/// `left` bytes of a frame, after the first `skip`.
fn parts<'a>(
    frame: &'a Frame,
    mut skip: usize,
    mut left: usize,
    umem: &'a Umem,
) -> impl Iterator<Item = &'a [u8]> {
    (0..frame.pieces()).map(move |at| {
        let piece = umem.piece(frame, at);
        let rest = piece.get(skip..).unwrap_or(&[]);
        let part = rest.get(..left).unwrap_or(rest);
        skip = skip.saturating_sub(piece.len());
        left -= part.len();
        part
    })
}
