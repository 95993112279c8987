//! The program: all of it is in the library, from which its manual pages are made too.

use std::process::ExitCode;

fn main() -> ExitCode {
    xblade_bench::main()
}
