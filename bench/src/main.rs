//! The program is in the library, from which its manual pages are also made.

use std::process::ExitCode;

fn main() -> ExitCode {
    xblade_bench::main()
}
