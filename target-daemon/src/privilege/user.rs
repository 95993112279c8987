//! Seeing files as another user does.

use std::ffi::CString;

use nix::unistd::{
    Gid, Uid, User, getgroups, getresgid, getresuid, initgroups, setgroups, setresgid, setresuid,
};

/// What `act` gives when it is run with the rights of the user of this name, as
/// far as files go; `None` if there is no such user, or this process is not root.
/// Afterwards it is root again. For a process that has one thread and does
/// nothing else at that time: users are those of the whole process.
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
    // With the effective user root's capabilities go, and come back with it.
    setresuid(user.uid, user.uid, root.0).ok()?;
    Some(act())
}

/// Root again, with its value.
struct Back {
    groups: Vec<Gid>,
    gids: [Gid; 2],
}

impl Drop for Back {
    fn drop(&mut self) {
        let root = Uid::from_raw(0);
        let [real, effective] = self.gids;
        // They cannot fail: the saved user is root.
        let _ = setresuid(root, root, root);
        let _ = setresgid(real, effective, Gid::from_raw(0));
        let _ = setgroups(&self.groups);
    }
}
