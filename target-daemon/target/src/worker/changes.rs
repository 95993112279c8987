//! Changes to a running worker: attaching and detaching exports, sizes, settings. The
//! control thread requests them; they take effect between two turns.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::Worker;
use super::directory::Directory;
use super::export_runtime::{ExportRuntime, ExportSnapshot};
use super::save::{Clear, SaveAck, SaveRequest};
use crate::ring::Rings;
use crate::shelf::Settings;

impl<R: Rings> Worker<R> {
    /// Measures the size of all stores; changes are noted in the [`Directory`].
    pub fn measure(&mut self) {
        self.exports.measure();
    }

    /// Adds an export at a free index. It gets no requests before a directory lists it.
    pub fn attach(&mut self, index: u16, runtime: ExportRuntime) {
        self.exports.attach(index, runtime);
    }

    /// Removes an export: sends it to `to` once none of its requests is in flight.
    /// Requests that arrive for it meanwhile get no reply.
    pub fn detach(&mut self, index: u16, to: Sender<Box<ExportRuntime>>) {
        self.exports.detach(index, to);
    }

    /// Replaces the directory, after exports were added or removed.
    pub fn set_directory(&mut self, directory: Arc<Directory>) {
        self.exports.set_directory(Arc::clone(&directory));
        self.directory = directory;
    }

    /// Changes the settings of an export.
    pub fn change(&mut self, index: u16, settings: Settings) {
        self.exports.change(index, settings);
    }

    /// From now on, sends changes made by initiators to this state writer, and
    /// acknowledges them only once they are saved. Without a state writer they are lost
    /// when the worker exits.
    pub fn set_state_writer(&mut self, writer: Sender<SaveRequest>) {
        self.exports.set_state_writer(self.index, writer);
    }

    /// Clears a reservation or mask list; sends to `to` when the change is on stable
    /// storage.
    pub fn clear(&mut self, index: u16, what: Clear, to: Sender<()>) {
        let unanswered = self.exports.clear(index, what, to, &mut self.stats);
        self.done.extend(unanswered);
    }

    /// Handles the acknowledgement that a state is on stable storage.
    pub fn saved(&mut self, saved: SaveAck) {
        self.exports.saved(saved, &mut self.done);
    }

    /// A snapshot of an export.
    pub fn export(&self, index: u16) -> Option<ExportSnapshot> {
        self.exports.snapshot(index)
    }
}
