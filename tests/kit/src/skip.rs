//! Tests that this process may not run.

use std::io::{self, Write};

/// A test that needs root: elsewhere it reports that it was skipped.
///
/// ```ignore
/// #[apply(needs_root!)]
/// fn a_test() {}
/// ```
#[macro_export]
macro_rules! needs_root {
    ($(#[$attribute:meta])* fn $name:ident() $body:block) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            if $crate::may_run(stringify!($name)) $body
        }
    };
}

/// Whether this process is root, and so may create namespaces; reports the skip if not.
pub fn may_run(test: &str) -> bool {
    // SAFETY: takes no arguments and cannot fail.
    (unsafe { libc::geteuid() }) == 0 || skipped(test, "needs root")
}

/// Whether this program is installed; reports the skip if not.
pub fn has(test: &str, program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|path| path.join(program).exists())
        || skipped(test, &format!("needs {program}"))
}

/// Reports that a test is skipped. Returns false, for the caller to pass on.
///
/// # Panics
///
/// If `XBLADE_TESTS_STRICT` is 1: then every test has to run.
pub fn skipped(test: &str, why: &str) -> bool {
    // Not eprintln, which the test harness captures.
    let _ = writeln!(io::stderr(), "SKIPPED: {why}: {test}");
    let strict = std::env::var_os("XBLADE_TESTS_STRICT").is_some_and(|value| value == "1");
    assert!(!strict, "{test} was skipped, and XBLADE_TESTS_STRICT=1 forbids it");
    false
}
