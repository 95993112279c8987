//! Detects vblade's four words in the wrong order.

use std::fs;

/// The intended order, if it is clear and differs from the given one.
pub(super) fn meant<'a>(words: &[&'a str; 4], is_number: impl Fn(&str) -> bool) -> Option<[&'a str; 4]> {
    let (numbers, others): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| is_number(word));
    let ([shelf, slot], [one, two]) = (numbers.as_slice(), others.as_slice()) else { return None };
    let (netif, file) = if is_swapped(one, two) { (two, one) } else { (one, two) };
    let meant = [*shelf, *slot, *netif, *file];
    (meant != *words).then_some(meant)
}

/// Whether interface and file are swapped.
fn is_swapped(netif: &str, file: &str) -> bool {
    let is_path = |word: &str| word.contains('/');
    !is_path(file) && (is_path(netif) || (is_interface(file) && !is_interface(netif)))
}

/// Whether the network namespace of this thread has an interface with that name.
fn is_interface(name: &str) -> bool {
    let list = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    list.lines().filter_map(|line| line.rsplit_once(':')).any(|(there, _)| there.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_that_was_meant_is_found_where_it_shows() {
        let is_number = |word: &str| word.parse::<u16>().is_ok();
        let right = ["0", "1", "eth1", "a.img"];
        for (given, expected) in [
            (right, None),
            (["eth1", "0", "1", "a.img"], Some(right)),
            (["eth1", "a.img", "0", "1"], Some(right)),
            (["0", "eth1", "1", "a.img"], Some(right)),
            (["0", "1", "/a.img", "eth1"], Some(["0", "1", "eth1", "/a.img"])),
            (["/a.img", "eth1", "0", "1"], Some(["0", "1", "eth1", "/a.img"])),
            // Ambiguous unless an interface with that name exists.
            (["0", "1", "a.img", "eth1"], None),
            (["0", "1", "a.img", "lo"], Some(["0", "1", "lo", "a.img"])),
            (["0", "1", "lo", "lo"], None),
            (["0", "1", "eth1", "7"], None),
            (["a", "b", "c", "7"], None),
        ] {
            assert_eq!(meant(&given, is_number), expected, "{given:?}");
        }
    }
}
