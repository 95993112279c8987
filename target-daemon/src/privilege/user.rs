//! Runs code with the file permissions of another user.

use std::ffi::CString;

use nix::unistd::{
    Gid, Uid, User, getgroups, getresgid, getresuid, initgroups, setgroups, setresgid, setresuid,
};

/// Runs `act` with the file permissions of this user and returns its result; `None` if
/// there is no such user, or if this process is not root. Afterwards the process is root
/// again. The process must have a single thread, because user ids apply to the whole
/// process.
pub fn as_user<T>(name: &str, act: impl FnOnce() -> T) -> Option<T> {
    let user = User::from_name(name).ok().flatten()?;
    let ids = getresuid().ok()?;
    if [ids.real, ids.effective, ids.saved] != [Uid::from_raw(0); 3] {
        return None;
    }
    let _back =
        Back { groups: getgroups().ok()?, gids: getresgid().ok().map(|ids| [ids.real, ids.effective])? };
    let root = (Uid::from_raw(0), Gid::from_raw(0));
    initgroups(&CString::new(name).ok()?, user.gid).ok()?;
    setresgid(user.gid, user.gid, root.1).ok()?;
    // Leaving effective user 0 drops root's capabilities; returning to it restores them.
    setresuid(user.uid, user.uid, root.0).ok()?;
    Some(act())
}

/// Restores root when dropped.
struct Back {
    groups: Vec<Gid>,
    gids: [Gid; 2],
}

impl Drop for Back {
    fn drop(&mut self) {
        let root = Uid::from_raw(0);
        let [real, effective] = self.gids;
        // These cannot fail: the saved user is root.
        let _ = setresuid(root, root, root);
        let _ = setresgid(real, effective, Gid::from_raw(0));
        let _ = setgroups(&self.groups);
    }
}
