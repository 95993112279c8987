//! A hash of the data of frames, by the AES instructions of the processor.
//!
//! One round of AES per 16 bytes, in eight independent lanes, of which the processor works
//! on several at once. That takes a third of the instructions of XXH3 with AVX2. The hash
//! depends on the processor: do not store it, and do not send it anywhere.
//!
//! It protects against accidents only. Data that differs in one place has another hash, as
//! each round is a permutation. Differences in several places cancel each other if one is
//! what a round makes of the one 128 bytes before it: ordinary data has no such pattern.

/// The hash of these parts of a frame, one after the other: how the bytes are split does
/// not matter. `None` if the processor has no AES instructions.
#[inline]
pub fn hash<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Option<u64> {
    imp::hash(parts)
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use std::arch::x86_64::{
        __m128i, _mm_aesenc_si128, _mm_cvtsi128_si64, _mm_loadu_si128, _mm_set_epi64x, _mm_xor_si128,
    };

    const WORD: usize = 16;
    const LANES: usize = 8;
    const BLOCK: usize = LANES * WORD;

    pub(super) fn hash<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Option<u64> {
        let able = is_x86_feature_detected!("aes") && is_x86_feature_detected!("avx");
        // SAFETY: the processor has the instructions.
        able.then(|| unsafe { of_parts(parts) })
    }

    #[target_feature(enable = "aes,avx")]
    fn of_parts<'a>(parts: impl Iterator<Item = &'a [u8]>) -> u64 {
        let mut lanes: [__m128i; LANES] = std::array::from_fn(|at| key(at as i64));
        // What does not fill a block yet.
        let (mut rest, mut held, mut total) = ([0; BLOCK], 0, 0);
        for mut part in parts {
            total += part.len();
            if held > 0 {
                let (now, later) = part.split_at(part.len().min(BLOCK - held));
                held += keep(&mut rest, held, now);
                part = later;
                if held < BLOCK {
                    continue;
                }
                absorb(&mut lanes, &rest);
            }
            let (blocks, tail) = part.as_chunks();
            for block in blocks {
                absorb(&mut lanes, block);
            }
            held = keep(&mut rest, 0, tail);
        }
        if held > 0 {
            keep(&mut rest, held, &[0; BLOCK]);
            absorb(&mut lanes, &rest);
        }
        finish(lanes, total)
    }

    /// Copies as much as there is room for behind the first `at` bytes; returns its length.
    fn keep(rest: &mut [u8; BLOCK], at: usize, bytes: &[u8]) -> usize {
        let room = rest.get_mut(at..).unwrap_or(&mut []);
        room.iter_mut().zip(bytes).map(|(to, from)| *to = *from).count()
    }

    #[target_feature(enable = "aes,avx")]
    #[inline]
    fn absorb(lanes: &mut [__m128i; LANES], block: &[u8; BLOCK]) {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<WORD>().0) {
            // SAFETY: the word has the 16 bytes that are read; their alignment does not matter.
            let word = unsafe { _mm_loadu_si128(word.as_ptr().cast()) };
            *lane = _mm_aesenc_si128(*lane, word);
        }
    }

    /// Two rounds spread a difference over all of a lane. Then the lanes are folded into one.
    #[target_feature(enable = "aes,avx")]
    fn finish(lanes: [__m128i; LANES], total: usize) -> u64 {
        let spread = |word| _mm_aesenc_si128(_mm_aesenc_si128(word, key(-1)), key(-2));
        let folded = lanes.into_iter().map(spread).reduce(|all, lane| _mm_xor_si128(spread(all), lane));
        let length = _mm_set_epi64x(0, total as i64);
        let all = _mm_xor_si128(folded.unwrap_or(length), length);
        _mm_cvtsi128_si64(spread(spread(all))) as u64
    }

    /// Constants that have nothing in common with data, nor with each other.
    #[target_feature(enable = "aes,avx")]
    #[inline]
    fn key(number: i64) -> __m128i {
        const PI: [i64; 2] = [0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344];
        const ODD: i64 = 0x1E37_79B9_7F4A_7C15;
        let [low, high] = PI;
        _mm_set_epi64x(high ^ number.wrapping_mul(ODD), low.wrapping_add(number.wrapping_mul(ODD)))
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod imp {
    pub(super) fn hash<'a>(_: impl Iterator<Item = &'a [u8]>) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::hash;

    /// Hashes the bytes in parts of these lengths, the last one repeated.
    fn in_parts(bytes: &[u8], lens: &[usize]) -> Option<u64> {
        let (mut left, mut lens) = (bytes, lens.iter().copied());
        let mut len = 1;
        hash(std::iter::from_fn(|| {
            len = lens.next().unwrap_or(len);
            let (part, rest) = left.split_at_checked(len).unwrap_or((left, &[]));
            left = rest;
            (!part.is_empty()).then_some(part)
        }))
    }

    fn data(len: usize) -> Vec<u8> {
        (0..len as u32).map(|at| (at.wrapping_mul(0x9E37_79B1) >> 24) as u8).collect()
    }

    #[test]
    fn it_depends_on_the_bytes_and_not_on_how_they_are_split() {
        for len in [0, 1, 15, 127, 128, 129, 512, 4096, 8191] {
            let data = data(len);
            let Some(whole) = hash([data.as_slice()].into_iter()) else { return };
            for lens in [&[1][..], &[3, 200], &[127, 1, 129], &[128], &[3584, 512], &[4095, 64]] {
                assert_eq!(in_parts(&data, lens), Some(whole), "{len} in {lens:?}");
            }
        }
    }

    /// Each bit counts, and so do the place of a word and the number of zeros at the end.
    #[test]
    fn what_differs_has_another_hash() {
        let data = data(4096);
        let mut seen = HashSet::new();
        let mut add = |bytes: &[u8], what: &str| {
            if let Some(hash) = hash([bytes].into_iter()) {
                assert!(seen.insert(hash), "{what}");
            }
        };
        add(&data, "the data");
        for bit in 0..data.len() * 8 {
            let mut other = data.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            add(&other, &format!("bit {bit}"));
        }
        for word in (8..data.len()).step_by(8) {
            let mut other = data.clone();
            let (first, rest) = other.split_at_mut(word);
            first[..8].swap_with_slice(&mut rest[..8]);
            assert_ne!(other, data);
            add(&other, &format!("word 0 and the one at {word} swapped"));
        }
        for len in 0..=256 {
            add(&vec![0; len], &format!("{len} zeros"));
        }
    }

    /// About half of the bits change, whichever bit of the data does.
    #[test]
    fn a_change_spreads_to_all_bits() {
        let data = data(512);
        let Some(before) = hash([data.as_slice()].into_iter()) else { return };
        let mut changed = [0; 64];
        for bit in 0..data.len() * 8 {
            let mut other = data.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let difference = before ^ hash([other.as_slice()].into_iter()).unwrap();
            changed.iter_mut().enumerate().for_each(|(at, n)| *n += difference >> at & 1);
        }
        for n in changed {
            assert!((1_848..=2_248).contains(&n), "{changed:?} of 4096");
        }
    }
}
