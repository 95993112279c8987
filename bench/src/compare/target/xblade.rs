//! The daemon, as a target.

use std::path::Path;

use crate::compare::case::Case;
use crate::compare::pair::End;

use super::EXPORT;

/// What it exports. Which stores there are is for the daemon to say.
pub fn export(store: Option<&str>, case: &Case, file: &Path, mib: u64) -> String {
    let mut export = format!("{EXPORT}={}", file.display());
    if let Some(store) = store {
        export += &format!(",store={store}");
    }
    match store {
        // Has no file to take its size from, and nothing to keep.
        Some("null") => export += &format!(",length={mib}MiB"),
        _ if !case.is_durable() && !export.contains(",sync=") => export += ",durability=volatile",
        _ => {}
    }
    export
}

/// The words that run it, with options that are tried out at the end.
pub fn words(program: &Path, export: String, end: &End, core: usize, more: &[String]) -> Vec<String> {
    let fixed = [program.to_string_lossy().into_owned(), "serve".to_owned(), export];
    let core = core.to_string();
    let place = ["--interface", end.interface, "--cores", &core].map(str::to_owned);
    [&fixed[..], &place, more].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Op;
    use crate::compare::case::Durability;

    #[test]
    fn stores_are_passed_through_and_durability_is_the_case_s() {
        let durability = Durability::Durable;
        let durable = Case { mtu: 9000, op: Op::Write, sectors: 8, window: 64, durability };
        let volatile = Case { durability: Durability::Volatile, ..durable };
        let of = |store, case| export(store, case, Path::new("/d/f"), 7);
        assert_eq!(of(None, &volatile), "0.1=/d/f,durability=volatile");
        assert_eq!(of(None, &durable), "0.1=/d/f");
        assert_eq!(of(Some("direct"), &durable), "0.1=/d/f,store=direct");
        assert_eq!(of(Some("file"), &volatile), "0.1=/d/f,store=file,durability=volatile");
        assert_eq!(of(Some("null"), &volatile), "0.1=/d/f,store=null,length=7MiB");
    }
}
