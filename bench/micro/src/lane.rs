//! Lane: from descriptors to owned frames, and back.

use xblade_ring::{Frame, Lane};
use xblade_sim::{FakeRings, FakeWire};
use xblade_wire::ata::Command::ReadSectorsExt;

use crate::frames;
use crate::{BATCH, Case};

/// Sends every frame back as it came: reclaim, receive, transmit, flush, refill, in the
/// order of a worker's turn. Reclaims the frames of the previous batch.
pub struct LaneBatch {
    lane: Lane<FakeRings>,
    wire: FakeWire,
    frame: Vec<u8>,
    batch: Vec<Frame>,
}

impl LaneBatch {
    /// A lane of the usual size.
    pub fn new() -> Self {
        let (lane, wire) = FakeRings::open(1024, 4096, 256).expect("a possible shape");
        Self {
            lane,
            wire,
            frame: frames::frame(&frames::transfer(ReadSectorsExt, 1, 8, 8), 0),
            batch: Vec::with_capacity(BATCH),
        }
    }
}

impl Case for LaneBatch {
    fn prepare(&mut self) {
        for _ in 0..BATCH {
            assert!(self.wire.deliver(&self.frame), "room in the rings");
        }
    }

    fn run(&mut self) {
        self.lane.reclaim();
        self.lane.receive(&mut self.batch);
        for frame in self.batch.drain(..) {
            // A frame that does not fit is detected in `finish`.
            let _ = self.lane.transmit(frame);
        }
        let _ = self.lane.flush();
        self.lane.refill();
    }

    fn finish(&mut self) {
        for _ in 0..BATCH {
            assert_eq!(self.wire.sent().as_deref(), Some(&*self.frame));
        }
    }
}
