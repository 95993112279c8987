//! The place of the one who looks.

use std::sync::{Arc, Mutex, PoisonError};

/// Who looks now, in words.
#[derive(Clone, Default, Debug)]
pub struct OneTrace(Arc<Mutex<Option<String>>>);

/// The place while it is taken: free again when this is dropped.
#[derive(Debug)]
pub struct Taken(OneTrace);

impl OneTrace {
    /// Takes it.
    ///
    /// # Errors
    ///
    /// Who has it.
    pub fn take(&self, who: &str) -> Result<Taken, String> {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = now.as_ref() {
            return Err(other.clone());
        }
        *now = Some(who.to_owned());
        Ok(Taken(self.clone()))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_place() {
        let place = OneTrace::default();
        let taken = place.take("a");
        assert_eq!(place.take("b").err().as_deref(), Some("a"));
        drop(taken);
        let taken = place.take("b");
        assert_eq!(place.take("c").err().as_deref(), Some("b"));
        drop(taken);
    }
}
