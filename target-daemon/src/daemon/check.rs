//! `xblade check`.

use crate::config::Check;

/// Looks at this machine; returns whether it can serve.
pub fn check(_options: &Check) -> bool {
    false
}
