//! An export: a store with an address.

use super::state::{Settings, State};
use crate::plant::{Bug, planted};
use crate::store::Store;

/// An export: a store with an address. Owned by one worker.
pub struct Export {
    /// All that is known of it but its data.
    pub state: State,
    /// Its data.
    pub store: Box<dyn Store>,
    /// Where its state is kept: for whoever keeps it.
    pub key: String,
}

impl Export {
    /// An export of this store, as large as the store is now.
    pub fn new(settings: Settings, store: Box<dyn Store>) -> Self {
        let state = State::new(settings, store.geometry());
        Self { state, store, key: String::new() }
    }

    /// Takes over the size that the store has found. Returns whether it has
    /// changed; initiators learn of that by IDENTIFY DEVICE.
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
