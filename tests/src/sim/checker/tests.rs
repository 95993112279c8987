use super::*;

fn w(value: Value, begin: Moment, end: Moment) -> Write {
    Write { value, begin, end, executed: Executed::Once }
}

fn often(value: Value, begin: Moment, end: Moment) -> Write {
    Write { executed: Executed::Often, ..w(value, begin, end) }
}

fn open(value: Value, begin: Moment) -> Write {
    Write { executed: Executed::Open, ..w(value, begin, u64::MAX) }
}

fn r(value: Value, begin: Moment, end: Moment) -> Read {
    Read { value, begin, end, op: begin as u32 }
}

#[test]
fn histories_that_can_be_explained_pass() {
    let good: [(&str, Vec<Write>, Vec<Read>); 16] = [
        ("nothing", vec![], vec![]),
        ("zeros", vec![], vec![r(0, 1, 2), r(0, 3, 4)]),
        ("one after the other", vec![w(1, 1, 2), w(2, 5, 6)], vec![r(1, 3, 4), r(2, 7, 8)]),
        ("a read during a write sees old", vec![w(1, 2, 6)], vec![r(0, 3, 5)]),
        ("a read during a write sees new", vec![w(1, 2, 6)], vec![r(1, 3, 5), r(1, 7, 8)]),
        ("two writes at a time, either last", vec![w(1, 1, 5), w(2, 2, 6)], vec![r(1, 7, 8), r(1, 9, 10)]),
        ("the other one last", vec![w(1, 1, 5), w(2, 2, 6)], vec![r(2, 7, 8)]),
        ("old and new by reads at a time", vec![w(1, 2, 9)], vec![r(1, 3, 6), r(0, 4, 5), r(0, 1, 7)]),
        (
            "sent again, and seen twice",
            vec![often(1, 1, 20), w(2, 5, 8)],
            vec![r(1, 3, 4), r(2, 9, 10), r(1, 21, 22)],
        ),
        ("failed, never seen", vec![w(1, 1, 2), open(2, 3)], vec![r(1, 5, 6)]),
        ("failed, seen late", vec![w(1, 1, 2), open(2, 3)], vec![r(1, 5, 6), r(2, 7, 8)]),
        ("discarded", vec![w(1, 1, 2), w(0, 3, 4)], vec![r(0, 5, 6)]),
        ("discarded, and written", vec![w(0, 1, 2), w(1, 3, 4)], vec![r(0, 3, 5), r(1, 6, 7)]),
        ("a discard that failed", vec![w(1, 1, 2), open(0, 3)], vec![r(1, 5, 6), r(0, 7, 8)]),
        ("the same again", vec![w(1, 1, 2), w(2, 3, 4), w(1, 5, 6)], vec![r(2, 4, 5), r(1, 7, 8)]),
        ("failed, seen and gone", vec![w(1, 1, 2), open(2, 3)], vec![r(2, 5, 6), r(1, 7, 8)]),
    ];
    for (name, writes, reads) in good {
        assert_eq!(check(&writes, &reads), Ok(()), "{name}");
    }
}

#[test]
fn histories_that_cannot_be_explained_do_not() {
    type Is = fn(&Wrong) -> bool;
    let unwritten: Is = |wrong| matches!(wrong, Wrong::Unwritten { .. });
    let early: Is = |wrong| matches!(wrong, Wrong::Early { .. });
    let overlap: Is = |wrong| matches!(wrong, Wrong::Overlap(..));
    let inside: Is = |wrong| matches!(wrong, Wrong::Inside(..));
    let bad: [(&str, Vec<Write>, Vec<Read>, Is); 18] = [
        ("from nowhere", vec![w(1, 1, 2)], vec![r(3, 3, 4)], unwritten),
        ("from the future", vec![w(1, 5, 6)], vec![r(1, 3, 4)], early),
        ("from the future of a failed one", vec![open(1, 5)], vec![r(1, 3, 4)], early),
        ("a lost write", vec![w(1, 1, 2)], vec![r(0, 3, 4)], inside),
        ("a lost overwrite", vec![w(1, 1, 2), w(2, 3, 4)], vec![r(1, 5, 6)], inside),
        ("a lost overwrite, sent again", vec![w(1, 1, 2), often(2, 3, 4)], vec![r(1, 5, 6)], inside),
        ("new, then old", vec![w(1, 2, 9)], vec![r(1, 3, 4), r(0, 5, 6)], inside),
        ("an old one comes back", vec![w(1, 1, 2), w(2, 3, 4)], vec![r(2, 5, 6), r(1, 7, 8)], overlap),
        (
            "an old one, sent again, comes back",
            vec![often(1, 1, 2), w(2, 3, 4)],
            vec![r(2, 5, 6), r(1, 7, 8)],
            overlap,
        ),
        (
            "to and fro between two at a time",
            vec![w(1, 1, 20), w(2, 2, 21)],
            vec![r(1, 3, 4), r(2, 5, 6), r(1, 7, 8)],
            inside,
        ),
        (
            "two readers do not agree",
            vec![w(1, 1, 4), w(2, 2, 5)],
            vec![r(1, 6, 9), r(2, 10, 11), r(1, 12, 13)],
            overlap,
        ),
        ("a lost discard", vec![w(1, 1, 2), w(0, 3, 4)], vec![r(1, 5, 6)], inside),
        ("a discard that came late", vec![w(0, 1, 2), w(1, 3, 4)], vec![r(0, 5, 6)], inside),
        ("a discard undone", vec![w(1, 1, 2), w(0, 3, 9)], vec![r(0, 4, 5), r(1, 6, 7)], inside),
        ("a lost write after a discard", vec![w(0, 1, 2), w(1, 3, 4), w(2, 5, 6)], vec![r(0, 7, 8)], inside),
        ("the same again, lost", vec![w(1, 1, 2), w(2, 3, 4), w(1, 5, 6)], vec![r(2, 7, 8)], inside),
        ("not yet written twice", vec![w(1, 3, 4), w(1, 5, 6)], vec![r(1, 1, 2)], early),
        ("swallowed between two reads", vec![w(1, 1, 2), w(2, 5, 6)], vec![r(1, 3, 4), r(1, 7, 8)], inside),
    ];
    for (name, writes, reads, expected) in bad {
        let wrong = check(&writes, &reads).expect_err(name);
        assert!(expected(&wrong), "{name}: {wrong:?}");
    }
}

/// Compares with a check that tries every order.
#[test]
fn it_agrees_with_trying_every_order() {
    let mut rng = crate::sim::rng::Rng::new(1);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..5_000 {
        let n = rng.between(2, 6);
        let mut moments: Vec<_> = (1..=2 * n).collect();
        for at in (1..moments.len()).rev() {
            moments.swap(at, rng.below(at as u64 + 1) as usize);
        }
        let (mut writes, mut reads) = (Vec::new(), Vec::new());
        for (at, pair) in (1..).zip(moments.chunks(2)) {
            let (begin, end) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
            if at % 2 == 1 {
                writes.push(w(at, begin, end));
            } else {
                reads.push(r(2 * rng.below(u64::from(at) / 2 + 1) as u32, begin, end));
            }
        }
        for read in &mut reads {
            read.value = read.value.saturating_sub(1);
        }
        let expected = explain(0, &writes, &reads);
        assert_eq!(check(&writes, &reads).is_ok(), expected, "{writes:?} {reads:?}");
        *(if expected { &mut good } else { &mut bad }) += 1;
    }
    assert!(good > 500 && bad > 500, "{good} good, {bad} bad");
}

/// Whether or not every write has its own value, valid histories pass; and if some values
/// are repeated, most invalid ones fail.
#[test]
fn with_repeated_values_it_never_rejects_what_can_be_explained() {
    let mut rng = crate::sim::rng::Rng::new(2);
    let (mut good, mut bad, mut missed) = (0, 0, 0);
    for _ in 0..10_000 {
        let n = rng.between(3, 7);
        let mut moments: Vec<_> = (1..=2 * n).collect();
        for at in (1..moments.len()).rev() {
            moments.swap(at, rng.below(at as u64 + 1) as usize);
        }
        let (mut writes, mut reads) = (Vec::new(), Vec::new());
        for (at, pair) in (1..).zip(moments.chunks(2)) {
            let (begin, end) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
            let value = rng.below(3) as u32;
            if at % 2 == 1 { writes.push(w(value, begin, end)) } else { reads.push(r(value, begin, end)) }
        }
        reads.retain(|read| read.value == 0 || writes.iter().any(|write| write.value == read.value));
        let expected = explain(0, &writes, &reads);
        let passes = check(&writes, &reads).is_ok();
        assert!(passes || !expected, "{writes:?} {reads:?}");
        *(if expected {
            &mut good
        } else if passes {
            &mut missed
        } else {
            &mut bad
        }) += 1;
    }
    assert!(good > 2_000 && bad > 10 * missed, "{good} good, {bad} bad, {missed} missed");
}

/// Whether these can happen in some order, one at a time, starting with `value`.
fn explain(value: Value, writes: &[Write], reads: &[Read]) -> bool {
    if reads.is_empty() {
        return true;
    }
    // An operation that begins after another one has ended cannot be first.
    let ends = writes.iter().map(|write| write.end).chain(reads.iter().map(|read| read.end));
    let first_end = ends.min().unwrap_or(u64::MAX);
    let read = (0..reads.len()).any(|at| {
        let mut rest = reads.to_vec();
        let read = rest.remove(at);
        read.begin <= first_end && read.value == value && explain(value, writes, &rest)
    });
    read || (0..writes.len()).any(|at| {
        let mut rest = writes.to_vec();
        let write = rest.remove(at);
        write.begin <= first_end && explain(write.value, &rest, reads)
    })
}
