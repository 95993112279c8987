//! Filters the system calls of each thread (seccomp).
//!
//! A call that is on no list fails with EPERM, and the kernel logs it: the calling code
//! gets an error, as from a full disk, and nothing that was acknowledged is lost. A call
//! that only an intruder would make kills the process, which is as safe for the data as a
//! power failure.

use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use super::calls::{self, Calls, Only};
use super::seccomp;
use crate::plant;

/// A kind of thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Opens stores, follows the interfaces, starts the other threads.
    Control,
    /// Moves frames and executes requests; opens nothing.
    Worker,
    /// Answers requests on open sockets, or writes state files.
    Helper,
}

/// Of workers and of helpers. Compiled once, when the control thread is confined.
static PROGRAMS: OnceLock<[BpfProgram; 2]> = OnceLock::new();

/// Confines the control thread and all threads that it will start.
pub(super) fn confine() -> io::Result<()> {
    if plant::left_out("seccomp") {
        return Ok(());
    }
    let [every, helpers, deadly] = calls::OLDER;
    let control = allowing(&[calls::EVERY, calls::HELPER, calls::CONTROL], &[every, helpers])?;
    let worker = allowing(&[calls::EVERY, calls::WORKER], &[every])?;
    let helper = allowing(&[calls::EVERY, calls::HELPER], &[every, helpers])?;
    let deadly = refusing(&[calls::DEADLY, deadly].concat(), SeccompAction::KillProcess)?;
    // The C library then uses the older call, whose flags a filter can check.
    let missing = refusing(&[libc::SYS_clone3], SeccompAction::Errno(libc::ENOSYS.unsigned_abs()))?;
    seccomp::install(&control, true)?;
    seccomp::install(&deadly, true)?;
    seccomp::install(&missing, false)?;
    // Set once: there is one process.
    let _ = PROGRAMS.set([worker, helper]);
    Ok(())
}

/// Restricts this thread to the calls of its role.
pub(super) fn enter(role: Role) -> io::Result<()> {
    let Some([worker, helper]) = PROGRAMS.get() else { return Ok(()) };
    if plant::left_out("seccomp-of-threads") {
        return Ok(());
    }
    match role {
        Role::Control => Ok(()),
        Role::Worker => seccomp::install(worker, true),
        Role::Helper => seccomp::install(helper, true),
    }
}

fn allowing(lists: &[Calls], older: &[&[i64]]) -> io::Result<BpfProgram> {
    let always = lists.iter().map(|list| &list.always).chain(older).copied().flatten();
    // No rules mean always.
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = always.map(|number| (*number, Vec::new())).collect();
    for (number, only) in lists.iter().flat_map(|list| list.conditional) {
        rules.insert(*number, only_if(only)?);
    }
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    compile(rules, refused, SeccompAction::Allow)
}

fn refusing(numbers: &[i64], action: SeccompAction) -> io::Result<BpfProgram> {
    let rules = numbers.iter().map(|number| (*number, Vec::new())).collect();
    compile(rules, SeccompAction::Allow, action)
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    mismatch: SeccompAction,
    matching: SeccompAction,
) -> io::Result<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    SeccompFilter::new(rules, mismatch, matching, arch)
        .and_then(BpfProgram::try_from)
        .map_err(io::Error::other)
}

/// The rules for one call.
fn only_if(only: &Only) -> io::Result<Vec<SeccompRule>> {
    let condition = |at, operator, value| SeccompCondition::new(at, SeccompCmpArgLen::Dword, operator, value);
    let rule = |condition: Result<_, _>| condition.and_then(|condition| SeccompRule::new(vec![condition]));
    let one = |at, operator, value| rule(condition(at, operator, value)).map_err(io::Error::other);
    let equal = |(at, value)| condition(at, SeccompCmpOp::Eq, value);
    match *only {
        Only::OneOf(at, values) => values.iter().map(|value| one(at, SeccompCmpOp::Eq, *value)).collect(),
        Only::Without(at, bits) => Ok(vec![one(at, SeccompCmpOp::MaskedEq(bits), 0)?]),
        Only::With(at, bits) => Ok(vec![one(at, SeccompCmpOp::MaskedEq(bits), bits)?]),
        Only::Null(at) => {
            let null = SeccompCondition::new(at, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0);
            Ok(vec![rule(null).map_err(io::Error::other)?])
        }
        Only::Both(first, (at, values)) => {
            let both = |value: &u64| equal(first).and_then(|first| Ok(vec![first, equal((at, *value))?]));
            let rule = |value| both(value).and_then(SeccompRule::new).map_err(io::Error::other);
            values.iter().map(rule).collect()
        }
        Only::OnOurselves(at) => Ok(vec![one(at, SeccompCmpOp::Eq, std::process::id().into())?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_becomes_a_filter() {
        let [every, helpers, _] = calls::OLDER;
        for lists in [[calls::EVERY, calls::WORKER], [calls::EVERY, calls::HELPER]] {
            // The kernel accepts 4096 instructions.
            let length = allowing(&lists, &[every, helpers]).unwrap().len();
            assert!((100..2000).contains(&length), "{length}");
        }
        refusing(calls::DEADLY, SeccompAction::KillProcess).unwrap();
    }

    #[test]
    fn what_kills_is_on_no_list() {
        let [every, helpers, deadly] = calls::OLDER;
        let deadly = [calls::DEADLY, deadly].concat();
        let is_deadly = |number: &i64| deadly.contains(number);
        assert!(!every.iter().chain(helpers).any(is_deadly));
        for list in [calls::EVERY, calls::WORKER, calls::HELPER, calls::CONTROL] {
            let conditional = list.conditional.iter().map(|(number, _)| number);
            assert!(!list.always.iter().chain(conditional).any(is_deadly));
        }
    }
}
