//! Pinning to a core.

use anyhow::{Result, bail};
use core_affinity::CoreId;

/// Pins this thread to a core, if one is given.
pub fn pin(core: Option<usize>) -> Result<()> {
    match core {
        Some(id) if !core_affinity::set_for_current(CoreId { id }) => {
            bail!("cannot pin to core {id}: it does not exist, or this process may not use it")
        }
        _ => Ok(()),
    }
}
