//! Signals that I/O can raise.

/// Makes a call that would raise one of them fail instead, and its request with it: a file
/// size limit (SIGXFSZ), a pipe without a reader (SIGPIPE), a terminal of another job
/// (SIGTTOU). Otherwise these signals would terminate or stop the process.
pub fn ignore_signals_of_io() {
    for signal in [libc::SIGXFSZ, libc::SIGPIPE, libc::SIGTTOU] {
        // SAFETY: no handler is installed: the kernel discards the signal.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}
