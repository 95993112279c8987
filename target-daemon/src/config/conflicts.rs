//! Exports that conflict with each other.

use crate::store::StoreSpec;
use crate::wire::aoe::Address;

/// Duplicate addresses: the index of the first and of the later one.
pub fn addresses_twice(addresses: &[Address]) -> Vec<(usize, usize)> {
    clashes(addresses, |a, b| a == b)
}

/// Stores that overlap and of which at least one is writable: the index of the first and
/// of the later one.
pub fn stores_overlap(stores: &[&StoreSpec]) -> Vec<(usize, usize)> {
    clashes(stores, |a, b| a.overlaps(b))
}

/// Pairs each item with the first earlier item that it conflicts with.
fn clashes<T>(all: &[T], conflict: impl Fn(&T, &T) -> bool) -> Vec<(usize, usize)> {
    let first_of = |(later, one): (usize, &T)| {
        let first = all.iter().take(later).position(|other| conflict(other, one))?;
        Some((first, later))
    };
    all.iter().enumerate().filter_map(first_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Export;

    #[test]
    fn what_one_may_write_another_may_not_have() {
        let rows = [
            (["0.1=/d", "0.2=/d"], true),
            (["0.1=/d", "0.2=/./d"], true),
            (["0.1=/d", "0.2=/e"], false),
            (["0.1=/d,ro", "0.2=/d,ro"], false),
            (["0.1=/d,ro", "0.2=/d"], true),
            (["0.1=/d,length=8", "0.2=/d,offset=8"], false),
            (["0.1=/d,length=9", "0.2=/d,offset=8"], true),
            (["0.1=/d,offset=8", "0.2=/d,length=8"], false),
            (["0.1=/d,store=null,length=8", "0.2=/d"], false),
        ];
        for (texts, expected) in rows {
            let exports = texts.map(|text| text.parse::<Export>().unwrap());
            let stores: Vec<&StoreSpec> = exports.iter().map(|export| &export.store).collect();
            assert_eq!(!stores_overlap(&stores).is_empty(), expected, "{texts:?}");
        }
    }

    #[test]
    fn every_later_one_is_named_with_the_first() {
        let at = |slot| Address { shelf: 0, slot };
        assert_eq!(addresses_twice(&[at(1), at(2), at(1), at(1)]), [(0, 2), (0, 3)]);
        assert_eq!(addresses_twice(&[at(1), at(2)]), []);
    }
}
