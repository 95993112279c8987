//! Adds up the counts of threads, intervals and rounds.

use super::{Side, Trouble};

impl Side {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        self.response.add(&other.response);
        self.unanswered += other.unanswered;
        if let (Some(service), Some(other)) = (&mut self.service, &other.service) {
            service.add(other);
        }
    }
}

impl Trouble {
    /// Adds another, which is not earlier.
    pub fn add(&mut self, other: &Self) {
        self.retransmits += other.retransmits;
        self.late += other.late;
        self.duplicates += other.duplicates;
        self.unexpected += other.unexpected;
        self.errors += other.errors;
        self.refused += other.refused;
        self.lost += other.lost;
        self.unsent += other.unsent;
        self.dropped += other.dropped;
        if other.last_error.is_some() {
            self.last_error.clone_from(&other.last_error);
        }
    }
}
