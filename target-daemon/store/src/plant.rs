//! Deliberate bugs, to prove that the tests catch them.
//!
//! Only a build with the feature `plant` can contain one. In all other builds [`planted`]
//! is the constant `false`, and none of this remains in the binary.

use std::cell::Cell;
use std::sync::OnceLock;

/// A deliberate bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// A durable write is acknowledged before it is stable.
    AckBeforeStable,
    /// Requests that overlap run at the same time.
    NoOverlapGuard,
    /// A duplicate of a write in flight is executed again.
    NoFolding,
    /// A duplicate of a completed write is executed again.
    NoHistory,
    /// A write is executed after a write that arrived later has been answered.
    NoArrivalOrder,
    /// A write is executed after one that is newer by its tag has been answered.
    NoTagOrder,
    /// A write that had to wait is executed although a newer one was answered meanwhile.
    NoSecondLook,
    /// A frame without a stamp counts as having arrived at the start of the pass that
    /// found it.
    ArrivedWithRound,
    /// A request that was held for its host's turn counts as executed in the order of arrival.
    HeldInOrder,
    /// Each address of a host counts as a separate host.
    AddressesApart,
    /// Reopening an export forgets the writes that it has answered.
    ForgetsOnReopen,
    /// A host that has rebooted gets replies from the duplicate cache of its last boot.
    ForgetsNothingOnIdentify,
    /// A discard locks only its first sector.
    DiscardLocksOneSector,
    /// A size change reported by the store is ignored.
    KeepsOldSize,
    /// A duplicate of a request that set something is executed again.
    NoSetHistory,
    /// A failed sync counts as a successful one.
    SwallowedSyncError,
    /// The range check accepts one sector beyond the end.
    OffByOneAtEnd,
    /// A media error is reported as an AoE error.
    AoeErrorForMedium,
    /// A state file is renamed into place before it is stable.
    NoStateFileSync,
    /// A state counts as saved before its folder is stable.
    NoStateFolderSync,
}

impl Bug {
    /// All bugs.
    pub const ALL: [Self; 20] = [
        Self::AckBeforeStable,
        Self::NoOverlapGuard,
        Self::NoFolding,
        Self::NoHistory,
        Self::NoArrivalOrder,
        Self::NoTagOrder,
        Self::NoSecondLook,
        Self::ArrivedWithRound,
        Self::HeldInOrder,
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
}

thread_local! {
    static HERE: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Whether this build can contain a bug.
const CAN: bool = cfg!(feature = "plant");

/// The bug that the environment plants in the whole process, for processes whose
/// threads the test does not control.
pub fn planted_everywhere() -> Option<Bug> {
    static BUG: OnceLock<Option<Bug>> = OnceLock::new();
    if !CAN {
        return None;
    }
    *BUG.get_or_init(|| {
        let name = std::env::var("XBLADE_PLANT").ok()?;
        Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name)
    })
}

/// Whether `XBLADE_LEFT_OUT` names this step of dropping privileges.
#[inline(always)]
pub fn left_out(step: &str) -> bool {
    CAN && std::env::var("XBLADE_LEFT_OUT").is_ok_and(|name| name == step)
}

/// Plants a bug in this thread, replacing any previous one.
pub fn plant(bug: Option<Bug>) {
    HERE.set(bug);
}

/// Whether this bug is planted: in this thread by [`plant`], or in the whole process
/// by its name in the environment variable `XBLADE_PLANT`.
#[inline(always)]
pub fn planted(bug: Bug) -> bool {
    CAN && (HERE.get() == Some(bug) || planted_everywhere() == Some(bug))
}
