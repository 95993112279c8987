//! Exports that come and go, and what is told of them.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::super::directory::Directory;
use super::super::job::Done;
use super::super::keep::Waits;
use super::super::seat::{ExportSnapshot, Seat};
use super::Desk;
use crate::shelf::Settings;

impl Desk {
    /// An export takes a seat that is free.
    pub fn take_in(&mut self, index: u16, seat: Seat) {
        let index = usize::from(index);
        if self.seats.len() <= index {
            self.seats.resize_with(index + 1, || None);
        }
        let number = self.next_number;
        self.next_number += 1;
        if let Some(free) = self.seats.get_mut(index) {
            *free = Some(Seat { number, ..seat });
        }
    }

    /// An export gives up its seat as soon as nothing is under way for it.
    pub fn let_go(&mut self, index: u16, to: Sender<Box<Seat>>) {
        if let Some(Some(seat)) = self.seats.get_mut(usize::from(index)) {
            seat.leaving = Some(to);
            self.some_leave = true;
        }
    }

    /// An export has other settings from now on.
    pub fn change(&mut self, index: u16, settings: Settings) {
        if let Some(Some(seat)) = self.seats.get_mut(usize::from(index)) {
            seat.change(settings);
        }
    }

    /// Other exports have come, or some have gone.
    pub fn set_directory(&mut self, directory: Arc<Directory>) {
        self.directory = directory;
    }

    /// Looks at the size of one store, and tells it.
    pub fn measure_one(&mut self, index: u16, to: Sender<u64>) {
        if let Some(Some(seat)) = self.seats.get_mut(usize::from(index)) {
            seat.measure();
            seat.wants_size = Some(to);
        }
    }

    /// What an export tells of itself.
    pub fn snapshot(&self, index: u16) -> Option<ExportSnapshot> {
        self.seat(index).map(Seat::snapshot)
    }

    /// What all of them tell.
    pub fn snapshots(&self) -> impl Iterator<Item = ExportSnapshot> + '_ {
        self.seats.iter().flatten().map(Seat::snapshot)
    }

    /// Counts a request to one of its exports that was dealt with.
    pub fn count(&mut self, done: &Done, now_ns: u64) {
        if let Some(Some(seat)) = self.seats.get_mut(usize::from(done.export)) {
            seat.count(done, now_ns);
        }
    }

    /// Gives those away that were let go and have nothing under way.
    pub fn see_off(&mut self, done: &mut Vec<Done>) {
        if !std::mem::take(&mut self.some_leave) {
            return;
        }
        for place in &mut self.seats {
            match place {
                Some(Seat { leaving: Some(to), .. }) => {
                    let to = to.clone();
                    if let Some(mut seat) = place.take_if(|seat| seat.is_quiet()) {
                        while let Some(waits) = seat.parked.any() {
                            if let Waits::Reply(reply) = waits {
                                let unanswered = reply.without_reply();
                                // No answer, no time.
                                seat.count(&unanswered, 0);
                                done.push(unanswered);
                            }
                        }
                        // Whoever asked may have stopped waiting: then its store
                        // is closed here.
                        let _ = to.try_send(Box::new(seat));
                    } else {
                        self.some_leave = true;
                    }
                }
                _ => continue,
            }
        }
    }
}
