//! The kinds of stores that serve files and devices.

/// A kind of store.
#[derive(Debug)]
pub struct Kind {
    /// Its value of `store=`.
    pub word: &'static str,
    /// A stalled medium delays no other export.
    pub isolates: bool,
    /// Needs files that the kernel caches.
    pub mapped: bool,
}

pub const FILE: Kind = Kind { word: "file", isolates: true, mapped: false };
pub const MMAP: Kind = Kind { word: "mmap", isolates: false, mapped: true };
pub const DIRECT: Kind = Kind { word: "direct", isolates: true, mapped: false };

/// Turns functions that take a kind into tests, one for each kind.
macro_rules! every_kind {
    ($($test:ident),* $(,)?) => {
        mod file { $(#[test] fn $test() { super::$test(&crate::kinds::FILE) })* }
        mod mmap { $(#[test] fn $test() { super::$test(&crate::kinds::MMAP) })* }
        mod direct { $(#[test] fn $test() { super::$test(&crate::kinds::DIRECT) })* }
    };
}
