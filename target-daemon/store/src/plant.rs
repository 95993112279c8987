//! Bugs to plant, so that the tests can show that they would be caught.
//!
//! Only a build with the feature `plant` can plant one; in every other build
//! [`planted`] is the constant `false`, and nothing of it is left.

/// What can be done wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// A durable write is acknowledged before it is stable.
    AckBeforeStable,
    /// Requests that overlap run at the same time.
    NoOverlapGuard,
    /// A write that is in flight already is executed once more.
    NoFolding,
    /// A copy of a completed write is executed once more.
    NoHistory,
    /// A write is executed although one that arrived later has been answered.
    NoArrivalOrder,
    /// A write is executed although one that its tag says to be newer has been answered.
    NoTagOrder,
    /// A write that has waited for a newer one is executed nevertheless.
    NoSecondLook,
    /// A frame without a stamp counts as arrived when the round began that found it.
    ArrivedWithRound,
    /// Each address of a host counts as a host of its own.
    AddressesApart,
    /// An export that is opened again has forgotten the writes that it has answered.
    ForgetsOnReopen,
    /// A host that has booted is answered from the memory of its last boot.
    ForgetsNothingOnIdentify,
    /// A discard has only the first sector to itself.
    DiscardLocksOneSector,
    /// The size that a store has found is not taken over.
    KeepsOldSize,
    /// A copy of a request that set something is executed once more.
    NoSetHistory,
    /// A sync that failed counts as one that succeeded.
    SwallowedSyncError,
    /// One sector too many is taken for a part of the export.
    OffByOneAtEnd,
    /// A fault of the medium is told by an AoE error.
    AoeErrorForMedium,
    /// The file of a state takes its place before it is stable.
    NoStateFileSync,
    /// A state counts as kept before its folder is stable.
    NoStateFolderSync,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::AckBeforeStable,
        Self::NoOverlapGuard,
        Self::NoFolding,
        Self::NoHistory,
        Self::NoArrivalOrder,
        Self::NoTagOrder,
        Self::NoSecondLook,
        Self::ArrivedWithRound,
        Self::AddressesApart,
        Self::ForgetsOnReopen,
        Self::ForgetsNothingOnIdentify,
        Self::DiscardLocksOneSector,
        Self::KeepsOldSize,
        Self::NoSetHistory,
        Self::SwallowedSyncError,
        Self::OffByOneAtEnd,
        Self::AoeErrorForMedium,
        Self::NoStateFileSync,
        Self::NoStateFolderSync,
    ];

    /// Those in what keeps the state of exports. Only power cuts show them
    /// (`tests/tests/crash.rs`): the simulation has no state folder.
    pub const STATE: [Self; 2] = [Self::NoStateFileSync, Self::NoStateFolderSync];
}

#[cfg(feature = "plant")]
mod imp {
    use std::cell::Cell;
    use std::sync::OnceLock;

    use super::Bug;

    thread_local! {
        static HERE: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// The bug that the environment plants in the whole process: for one whose
    /// threads are not the test's.
    pub fn planted_everywhere() -> Option<Bug> {
        static BUG: OnceLock<Option<Bug>> = OnceLock::new();
        *BUG.get_or_init(|| {
            let name = std::env::var("XBLADE_PLANT").ok()?;
            Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name)
        })
    }

    /// Whether `XBLADE_LEFT_OUT` names this step of giving up rights.
    pub fn left_out(step: &str) -> bool {
        std::env::var("XBLADE_LEFT_OUT").is_ok_and(|name| name == step)
    }

    /// Plants a bug in this thread, in place of the one that was there.
    pub fn plant(bug: Option<Bug>) {
        HERE.set(bug);
    }

    /// Whether this bug is planted: in this thread by [`plant`], or in the
    /// whole process by its name in the environment variable `XBLADE_PLANT`.
    pub fn planted(bug: Bug) -> bool {
        HERE.get() == Some(bug) || planted_everywhere() == Some(bug)
    }
}

#[cfg(not(feature = "plant"))]
mod imp {
    /// Whether this bug is planted: never.
    #[inline(always)]
    pub fn planted(_: super::Bug) -> bool {
        false
    }

    /// Whether a step of giving up rights is left out: never.
    #[inline(always)]
    pub fn left_out(_: &str) -> bool {
        false
    }

    /// The bug that the environment plants in the whole process: none.
    pub fn planted_everywhere() -> Option<super::Bug> {
        None
    }
}

pub use imp::*;
