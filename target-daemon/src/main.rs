//! The command line of xblade.
fn main() {}
