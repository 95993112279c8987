//! Changes while a worker runs: exports that come and go, sizes, settings. The
//! control thread orders them, between two turns.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::Worker;
use super::directory::Directory;
use super::seat::{ExportSnapshot, Seat};
use crate::ring::Rings;
use crate::shelf::Settings;

impl<R: Rings> Worker<R> {
    /// Looks at the sizes of all stores; what has changed is noted in the
    /// [`Directory`].
    pub fn measure(&mut self) {
        self.desk.measure();
    }

    /// Takes an export in, at an index that is free. Nobody can ask for it before
    /// a directory has it.
    pub fn take_in(&mut self, index: u16, seat: Seat) {
        self.desk.take_in(index, seat);
    }

    /// Gives an export up: it goes to `to` as soon as nothing is under way for
    /// it. What still comes for it gets no answer.
    pub fn let_go(&mut self, index: u16, to: Sender<Box<Seat>>) {
        self.desk.let_go(index, to);
    }

    /// Other exports have come, or some have gone.
    pub fn set_directory(&mut self, directory: Arc<Directory>) {
        self.desk.set_directory(Arc::clone(&directory));
        self.directory = directory;
    }

    /// Gives an export other settings.
    pub fn change(&mut self, index: u16, settings: Settings) {
        self.desk.change(index, settings);
    }

    /// What an export tells of itself.
    pub fn export(&self, index: u16) -> Option<ExportSnapshot> {
        self.desk.snapshot(index)
    }
}
