//! Signals that reading and writing can raise.

/// A call that would raise one of them fails instead, and its request with it: a limit of
/// the size of files (SIGXFSZ), a pipe that nobody reads (SIGPIPE), a terminal that belongs
/// to another job (SIGTTOU). Otherwise they end the process, or stop it.
pub fn ignore_signals_of_io() {
    for signal in [libc::SIGXFSZ, libc::SIGPIPE, libc::SIGTTOU] {
        // SAFETY: no code of ours is named: the kernel discards the signal.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}
