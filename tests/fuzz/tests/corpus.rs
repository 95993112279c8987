//! Replays the corpus without a fuzzer: what has failed once is in it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use xblade_fuzz::TARGETS;

/// The corpus is part of every clone of the repository.
const BYTES_MAX: u64 = 1 << 20;

#[test]
fn no_input_of_the_corpus_fails() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let folders: BTreeSet<String> = fs::read_dir(&corpus)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(folders, targets, "a folder for each target");
    let mut bytes = 0;
    for (name, run) in TARGETS {
        let mut inputs = 0;
        for entry in fs::read_dir(corpus.join(name)).unwrap() {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            bytes += input.len() as u64;
            inputs += 1;
            let began = Instant::now();
            // The name of the input comes with the panic.
            println!("{}", path.display());
            run(&input);
            assert!(began.elapsed() < Duration::from_secs(10), "{}: {:?}", path.display(), began.elapsed());
        }
        assert!(inputs >= 10, "{name}: only {inputs} inputs");
    }
    assert!(bytes < BYTES_MAX, "{bytes} bytes: minimise the corpus with tests/fuzz/run --update");
}
