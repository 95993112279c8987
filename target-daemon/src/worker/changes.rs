//! Changes while a worker runs: exports that come and go, sizes, settings. The
//! control thread orders them, between two turns.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::Worker;
use super::directory::Directory;
use super::export_runtime::{ExportRuntime, ExportSnapshot};
use super::export_set::Clear;
use super::save::{SaveAck, SaveRequest};
use crate::ring::Rings;
use crate::shelf::Settings;

impl<R: Rings> Worker<R> {
    /// Looks at the sizes of all stores; what has changed is noted in the
    /// [`Directory`].
    pub fn measure(&mut self) {
        self.exports.measure();
    }

    /// Takes an export in, at an index that is free. Nobody can ask for it before
    /// a directory has it.
    pub fn attach(&mut self, index: u16, runtime: ExportRuntime) {
        self.exports.attach(index, runtime);
    }

    /// Gives an export up: it goes to `to` as soon as nothing is under way for
    /// it. What still comes for it gets no answer.
    pub fn detach(&mut self, index: u16, to: Sender<Box<ExportRuntime>>) {
        self.exports.detach(index, to);
    }

    /// Other exports have come, or some have gone.
    pub fn set_directory(&mut self, directory: Arc<Directory>) {
        self.exports.set_directory(Arc::clone(&directory));
        self.directory = directory;
    }

    /// Gives an export other settings.
    pub fn change(&mut self, index: u16, settings: Settings) {
        self.exports.change(index, settings);
    }

    /// What initiators set goes to this keeper from now on, and is acknowledged
    /// when it is kept. Without one it is lost with the worker.
    pub fn set_state_writer(&mut self, writer: Sender<SaveRequest>) {
        self.exports.set_state_writer(self.index, writer);
    }

    /// Takes a reservation or mask list away, and tells when that is on stable
    /// storage.
    pub fn clear(&mut self, index: u16, what: Clear, to: Sender<()>) {
        let unanswered = self.exports.clear(index, what, to);
        self.done.extend(unanswered);
    }

    /// A state is on stable storage.
    pub fn saved(&mut self, saved: SaveAck) {
        self.exports.saved(saved, &mut self.done);
    }

    /// What an export tells of itself.
    pub fn export(&self, index: u16) -> Option<ExportSnapshot> {
        self.exports.snapshot(index)
    }
}
