//! Attaching and detaching exports; settings and snapshots.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::super::directory::Directory;
use super::super::export_runtime::{ExportRuntime, ExportSnapshot};
use super::super::messages::Finished;
use super::super::save::Waits;
use super::ExportSet;
use crate::shelf::Settings;

impl ExportSet {
    /// Adds an export at a free index.
    pub fn attach(&mut self, index: u16, runtime: ExportRuntime) {
        let index = usize::from(index);
        if self.runtimes.len() <= index {
            self.runtimes.resize_with(index + 1, || None);
        }
        let number = self.next_number;
        self.next_number += 1;
        if let Some(free) = self.runtimes.get_mut(index) {
            *free = Some(ExportRuntime { number, ..runtime });
        }
    }

    /// Removes an export once nothing is in flight for it.
    pub fn detach(&mut self, index: u16, to: Sender<Box<ExportRuntime>>) {
        if let Some(Some(runtime)) = self.runtimes.get_mut(usize::from(index)) {
            runtime.leaving = Some(to);
            self.some_leave = true;
        }
    }

    /// Changes the settings of an export.
    pub fn change(&mut self, index: u16, settings: Settings) {
        if let Some(Some(runtime)) = self.runtimes.get_mut(usize::from(index)) {
            runtime.change(settings);
        }
    }

    /// Replaces the directory, after exports were added or removed.
    pub fn set_directory(&mut self, directory: Arc<Directory>) {
        self.directory = directory;
    }

    /// Starts a size check of one store; sends the result to `to`.
    pub fn measure_one(&mut self, index: u16, to: Sender<u64>) {
        if let Some(Some(runtime)) = self.runtimes.get_mut(usize::from(index)) {
            runtime.measure();
            runtime.wants_size = Some(to);
        }
    }

    /// A snapshot of an export.
    pub fn snapshot(&self, index: u16) -> Option<ExportSnapshot> {
        self.runtime(index).map(ExportRuntime::snapshot)
    }

    /// Snapshots of all exports.
    pub fn snapshots(&self) -> impl Iterator<Item = ExportSnapshot> + '_ {
        self.runtimes.iter().flatten().map(ExportRuntime::snapshot)
    }

    /// Counts a finished request to one of the exports.
    pub fn count(&mut self, done: &Finished, now_ns: u64) {
        if let Some(Some(runtime)) = self.runtimes.get_mut(usize::from(done.export)) {
            runtime.count(done, now_ns);
        }
    }

    /// Sends away detached exports that have nothing in flight, with what waited for them.
    pub fn reap_detached(&mut self, done: &mut Vec<Finished>) {
        if !std::mem::take(&mut self.some_leave) {
            return;
        }
        for entry in &mut self.runtimes {
            match entry {
                Some(ExportRuntime { leaving: Some(to), .. }) => {
                    let to = to.clone();
                    if let Some(mut runtime) = entry.take_if(|runtime| runtime.is_quiet()) {
                        while let Some(waits) = runtime.pending_saves.any() {
                            if let Waits::Reply(reply) = waits {
                                let unanswered = reply.without_reply();
                                // There was no reply, so there is no service time.
                                runtime.count(&unanswered, 0);
                                done.push(unanswered);
                            }
                        }
                        // If the receiver is gone, the store is closed here.
                        let _ = to.try_send(Box::new(runtime));
                    } else {
                        self.some_leave = true;
                    }
                }
                _ => continue,
            }
        }
    }
}
