//! Exports that get in each other's way.

use std::path::PathBuf;

use super::Image;
use crate::wire::aoe::Address;

/// Addresses that were given before: index of the first and of the later one.
pub fn addresses_twice(addresses: &[Address]) -> Vec<(usize, usize)> {
    clashes(addresses, |a, b| a == b)
}

/// Images of which one may write what another one has: index of the first and
/// of the later one. Goes by the path; two names of one file are found when it
/// is opened.
pub fn images_overlap(images: &[&Image]) -> Vec<(usize, usize)> {
    clashes(images, |a, b| overlap(a, b))
}

/// Each later one with the first that it is in conflict with.
fn clashes<T>(all: &[T], conflict: impl Fn(&T, &T) -> bool) -> Vec<(usize, usize)> {
    let first_of = |(later, one): (usize, &T)| {
        let first = all.iter().take(later).position(|other| conflict(other, one))?;
        Some((first, later))
    };
    all.iter().enumerate().filter_map(first_of).collect()
}

fn overlap(a: &Image, b: &Image) -> bool {
    let (Image::File(a), Image::File(b)) = (a, b) else { return false };
    // By components: without double slashes and single dots.
    let path = |path: &PathBuf| path.components().collect::<PathBuf>();
    let end = |offset: u64, length: Option<u64>| length.map_or(u64::MAX, |n| offset.saturating_add(n));
    path(&a.path) == path(&b.path)
        && !(a.read_only && b.read_only)
        && a.offset_bytes < end(b.offset_bytes, b.length_bytes)
        && b.offset_bytes < end(a.offset_bytes, a.length_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
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
            let images: Vec<&Image> = exports.iter().map(|export| &export.image).collect();
            assert_eq!(!images_overlap(&images).is_empty(), expected, "{texts:?}");
        }
    }

    #[test]
    fn every_later_one_is_named_with_the_first() {
        let at = |slot| Address { shelf: 0, slot };
        assert_eq!(addresses_twice(&[at(1), at(2), at(1), at(1)]), [(0, 2), (0, 3)]);
        assert_eq!(addresses_twice(&[at(1), at(2)]), []);
    }
}
