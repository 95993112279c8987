//! A copy that survives SIGBUS.
//!
//! Touching a mapped page that is not available raises SIGBUS: the file was truncated, the
//! disk failed to read the page, or a sparse file found no space. The kernel has the same
//! problem with user memory and solves it with an exception table; this is that solution
//! with one entry. The copy is a routine whose only instruction that can fault has a known
//! address. The handler checks only the address: if that instruction faulted, execution
//! continues after it, where the routine returns how much it did not copy. For every other
//! instruction the previous handler is put back, so a bug elsewhere still ends the process.
//!
//! Why not `sigsetjmp`: it saves the registers for every copy, and jumping out of a handler
//! over Rust frames is undefined. Why not let the handler map a zero page over the bad one:
//! the request would then be answered with zeros, which is wrong data, and the mapping
//! would stay wrong.
//!
//! The kernel kills a thread that *blocks* SIGBUS, whatever the handler: a thread that
//! serves a mapped store must leave it unblocked.
//!
//! Only x86_64 has the routine. Elsewhere [`copy`] copies nothing, and the store uses the
//! descriptor.

pub(super) use imp::{copy, install};

#[cfg(target_arch = "x86_64")]
mod imp {
    use std::io;
    use std::sync::OnceLock;

    // `rep movsb` keeps its state in rdi, rsi and rcx: whenever it is interrupted, rcx
    // holds the number of missing bytes. From a few hundred bytes on it is as fast as a
    // loop of vector moves (ERMS), and a sector is 512.
    std::arch::global_asm!(
        ".pushsection .text.xblade_guarded_copy, \"ax\", @progbits",
        ".p2align 4",
        ".hidden xblade_guarded_copy",
        ".globl xblade_guarded_copy",
        ".type xblade_guarded_copy, @function",
        "xblade_guarded_copy:",
        ".cfi_startproc",
        "mov rcx, rdx",
        ".hidden xblade_guarded_copy_moves",
        ".globl xblade_guarded_copy_moves",
        "xblade_guarded_copy_moves:",
        "rep movsb",
        ".hidden xblade_guarded_copy_stops",
        ".globl xblade_guarded_copy_stops",
        "xblade_guarded_copy_stops:",
        "mov rax, rcx",
        "ret",
        ".cfi_endproc",
        ".size xblade_guarded_copy, . - xblade_guarded_copy",
        ".popsection",
    );

    unsafe extern "C" {
        /// Returns the number of bytes that it did not copy.
        fn xblade_guarded_copy(to: *mut u8, from: *const u8, len: usize) -> usize;
        static xblade_guarded_copy_moves: u8;
        static xblade_guarded_copy_stops: u8;
    }

    static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();

    /// Installs the handler, once for the process.
    pub fn install() -> io::Result<()> {
        INSTALLED
            .get_or_init(|| replace_action().map_err(|error| error.raw_os_error().unwrap_or(0)))
            .map_err(io::Error::from_raw_os_error)
    }

    fn replace_action() -> io::Result<()> {
        // SAFETY: all-zero is a valid `sigaction`.
        let mut previous: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: a null new action asks for the present one.
        check(unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut previous) })?;
        // Saved before ours is active: the handler may need it at once.
        PREVIOUS.get_or_init(|| previous);

        // SAFETY: all-zero is a valid `sigaction` (and an empty mask).
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        let handler: extern "C" fn(_, _, _) = on_sigbus;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `on_sigbus` has the signature that SA_SIGINFO requires and does only what
        // is allowed in a handler.
        check(unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) })
    }

    fn check(result: libc::c_int) -> io::Result<()> {
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Copies `len` bytes. Returns `false` if a SIGBUS interrupted the copy: then any part
    /// of `to` may have been written.
    ///
    /// # Safety
    ///
    /// Both ranges are mapped (even if a page may be unavailable), `to` is writable, they
    /// do not overlap, and there is no reference into them. [`install`] has succeeded.
    #[must_use]
    pub unsafe fn copy(to: *mut u8, from: *const u8, len: usize) -> bool {
        // SAFETY: the caller's promise; the routine follows the C ABI.
        unsafe { xblade_guarded_copy(to, from, len) == 0 }
    }

    extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler.
        let code = unsafe { (*info).si_code };
        // SAFETY: and a `ucontext_t`, ours alone until the handler returns.
        let context_ref = unsafe { &mut *context.cast::<libc::ucontext_t>() };
        let [moves, stops] = [&raw const xblade_guarded_copy_moves, &raw const xblade_guarded_copy_stops];
        // The index is a constant of the architecture, inside the array.
        let rip = &mut context_ref.uc_mcontext.gregs[libc::REG_RIP as usize];
        match PREVIOUS.get().filter(|_| is_access(code)) {
            Some(_) if *rip == moves as i64 => *rip = stops as i64,
            // The instruction is repeated, and meets the previous handler.
            // SAFETY: async-signal-safe, and an action that the kernel has returned.
            Some(previous) => _ = unsafe { libc::sigaction(signal, previous, std::ptr::null_mut()) },
            // SAFETY: both calls are async-signal-safe. The signal is blocked
            // until we return, and then ends the process.
            None => unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            },
        }
    }

    /// Whether the instruction itself raised the signal by accessing an unavailable page, and
    /// would do so again: not another process, nor a report of memory failure elsewhere
    /// (BUS_MCEERR_AO).
    fn is_access(code: libc::c_int) -> bool {
        matches!(code, libc::BUS_ADRERR | libc::BUS_OBJERR | libc::BUS_MCEERR_AR)
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod imp {
    /// Nothing to install.
    pub fn install() -> std::io::Result<()> {
        Ok(())
    }

    /// Copies nothing.
    ///
    /// # Safety
    ///
    /// None needed; it has the signature of the guarded copy.
    #[must_use]
    pub unsafe fn copy(_to: *mut u8, _from: *const u8, _len: usize) -> bool {
        false
    }
}
