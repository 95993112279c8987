//! An export: a store with an address.

use super::state::{Settings, State};
use crate::plant::{Bug, planted};
use crate::store::Store;

/// A store with an address. Owned by one worker.
pub struct Export {
    /// Everything about the export except its data.
    pub state: State,
    /// The data.
    pub store: Box<dyn Store>,
    /// Identifies the saved state; used by the state writer.
    pub key: String,
}

impl Export {
    /// An export of this store, with the store's current size.
    pub fn new(settings: Settings, store: Box<dyn Store>) -> Self {
        let state = State::new(settings, store.geometry());
        Self { state, store, key: String::new() }
    }

    /// Adopts the size that the store reports. Returns whether it changed; initiators see
    /// the new size in IDENTIFY DEVICE.
    pub fn refresh(&mut self) -> bool {
        let geometry = self.store.geometry();
        let changed = geometry != self.state.geometry && !planted(Bug::KeepsOldSize);
        if !changed {
            return false;
        }
        self.state.geometry = geometry;
        true
    }
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export").field("state", &self.state).finish_non_exhaustive()
    }
}
