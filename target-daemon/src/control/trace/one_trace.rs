//! Limits tracing to one client at a time.

use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The client that traces now, as text.
#[derive(Clone, Default, Debug)]
pub struct OneTrace(Arc<Mutex<Weak<String>>>);

/// The right to trace; dropping it lets the next client trace.
pub type Taken = Arc<String>;

impl OneTrace {
    /// Acquires the right to trace.
    ///
    /// # Errors
    ///
    /// The client that has it.
    pub fn take(&self, who: &str) -> Result<Taken, Taken> {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = now.upgrade() {
            return Err(other);
        }
        let taken = Arc::new(who.to_owned());
        *now = Arc::downgrade(&taken);
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_place() {
        let place = OneTrace::default();
        let taken = place.take("a");
        assert_eq!(place.take("b").unwrap_err().as_str(), "a");
        drop(taken);
        let taken = place.take("b");
        assert_eq!(place.take("c").unwrap_err().as_str(), "b");
        drop(taken);
    }
}
