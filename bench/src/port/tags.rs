//! The division of tags among threads.
//!
//! ```text
//! tag: 1 │ thread │ what the thread makes of it
//! ```
//!
//! Bit 31 separates our replies from those of the Linux initiator, and the thread number
//! separates those of different threads.

use crate::aoe::TAG_USER;

/// The tags of one thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tags {
    /// The fixed bits of each tag.
    pub value: u32,
    /// The mask of the fixed bits.
    pub mask: u32,
}

/// Maximum number of threads.
pub const THREADS_MAX: usize = 64;

impl Tags {
    /// Every tag of this program.
    pub const ALL: Self = Self { value: TAG_USER, mask: TAG_USER };

    /// The tags of one of several threads, at most [`THREADS_MAX`].
    pub fn of(thread: usize, threads: usize) -> Self {
        let bits = threads.clamp(1, THREADS_MAX).next_power_of_two().trailing_zeros();
        let free = 31 - bits;
        // Shifted by 31 at most.
        let number = (thread as u32) << free & (TAG_USER - 1);
        Self { value: TAG_USER | number, mask: u32::MAX << free }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Tags {
        /// Whether a tag belongs to them.
        pub fn has(self, tag: u32) -> bool {
            tag & self.mask == self.value
        }
    }

    #[test]
    fn no_two_threads_share_a_tag_and_all_are_ours() {
        assert_eq!(Tags::of(0, 1), Tags::ALL);
        for threads in [1, 2, 3, 4, 5, 64] {
            let all: Vec<Tags> = (0..threads).map(|thread| Tags::of(thread, threads)).collect();
            for (at, tags) in all.iter().enumerate() {
                for tag in [tags.value, tags.value | !tags.mask] {
                    assert!(Tags::ALL.has(tag));
                    let owners: Vec<_> = (0..threads).filter(|&other| all[other].has(tag)).collect();
                    assert_eq!(owners, [at], "{threads} threads, tag {tag:#x}");
                }
            }
        }
    }
}
