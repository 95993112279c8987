//! The null store: it discards every write, and reads return zeros. It measures the cost of
//! the protocol by itself.

use super::engine::Engine;
use super::immediate::{Execute, Immediate};
use super::select::Opened;
use super::{Data, Geometry, Identity, Kind, Op, OpResult, SECTOR_BYTES};

pub(super) const ENGINE: Engine = Engine {
    name: "null",
    help: "nothing",
    access: None,
    model: Some("xblade null (discards writes)"),
    data: |_| Some(Data { identity: Identity::null(), offset_bytes: 0 }),
    open: |spec| {
        let sectors = spec.options().bytes("length").unwrap_or(0) / SECTOR_BYTES;
        Ok(Opened::without_file(NullStore::new(sectors), Identity::null()))
    },
};

/// A store without data.
pub type NullStore = Immediate<Null>;

/// The engine of a [`NullStore`].
#[derive(Debug)]
pub struct Null(Geometry);

impl NullStore {
    /// A store that reports a size of `sectors`.
    pub fn new(sectors: u64) -> Self {
        Self::of(Null(Geometry::new(sectors, 4096)))
    }
}

impl Execute for Null {
    fn geometry(&self) -> Geometry {
        self.0
    }

    fn execute(&mut self, op: &mut Op) -> OpResult {
        op.range_in(self.0)?;
        if op.kind == Kind::Read {
            op.buffers.zero();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completion_queue::QUEUE_MAX;
    use crate::{Completion, Full, IoError, IoVec, Store};

    fn submit(store: &mut NullStore, kind: Kind, sector: u64, memory: &mut [u8]) -> Completion {
        let mut buffers = IoVec::EMPTY;
        // SAFETY: the memory outlives the operation, which ends below.
        assert!(unsafe { buffers.push(memory) });
        store.submit(Op { token: 7, kind, sector, buffers }).unwrap();
        store.complete().unwrap()
    }

    #[test]
    fn reads_zeros_and_keeps_to_its_size() {
        let mut store = NullStore::new(10);
        let rows = [
            (Kind::Write, 0, Ok(()), 9),
            (Kind::Read, 8, Ok(()), 0),
            (Kind::Read, 9, Err(IoError::Range), 9),
            (Kind::Write, 9, Err(IoError::Range), 9),
            (Kind::Read, u64::MAX, Err(IoError::Range), 9),
            (Kind::Flush, u64::MAX, Ok(()), 9),
        ];
        for (kind, sector, result, after) in rows {
            let mut memory = [9; 1024];
            let completion = submit(&mut store, kind, sector, &mut memory);
            assert_eq!(completion, Completion { token: 7, result }, "{kind:?} at {sector}");
            assert_eq!(memory, [after; 1024], "{kind:?} at {sector}");
        }
        assert_eq!(submit(&mut store, Kind::Read, 0, &mut [0; 100]).result, Err(IoError::Range));
    }

    #[test]
    fn a_full_queue_gives_the_operation_back() {
        let mut store = NullStore::new(1);
        let flush = |token| Op { token, kind: Kind::Flush, sector: 0, buffers: IoVec::EMPTY };
        for token in 0..QUEUE_MAX as u32 {
            store.submit(flush(token)).unwrap();
        }
        let Full(op) = store.submit(flush(1000)).unwrap_err();
        assert_eq!(op.token, 1000);
        for token in 0..QUEUE_MAX as u32 {
            assert_eq!(store.complete().unwrap().token, token);
        }
        assert!(store.complete().is_none());
    }
}
