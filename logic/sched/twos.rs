// SPDX-License-Identifier: GPL-2.0
//! Power of two choices: of two servers drawn by weight, the less loaded one.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_twos.c.

use super::{eligible, overhead, DestView};

/// Draws a number below `ceil`, which is not 0, from a source of random words, each with the same
/// probability.
pub fn below(ceil: u32, mut word: impl FnMut() -> u32) -> u32 {
    // The upper half of the product is the number; a lower half below the remainder of 2^32 by
    // `ceil` would make some numbers more likely.
    let unfair = ceil.wrapping_neg().checked_rem(ceil).unwrap_or(0);
    loop {
        let product = u64::from(word()).wrapping_mul(u64::from(ceil));
        if product as u32 >= unfair {
            return product.wrapping_shr(32) as u32;
        }
    }
}

/// Chooses the less loaded for its weight of two destinations, which may be the same, that are drawn
/// with `draw(n)`: a random number below `n`.
pub fn pick<D: DestView>(dests: &[D], mut draw: impl FnMut(u32) -> u32) -> Option<usize> {
    let mut sum = 0i32;
    let mut last = None;
    for (i, d) in dests.iter().enumerate() {
        if eligible(d) {
            (sum, last) = (sum.wrapping_add(d.weight()), Some(i));
        }
    }
    let last = last?;
    // One more than the weights are: both 0 and 1 mean the first destination.
    let ceil = (sum.wrapping_add(1) as u32).max(1);
    let mut left = [draw(ceil) as i32, draw(ceil) as i32];
    let mut drawn: [Option<(usize, i32, i32)>; 2] = [None; 2];
    for (i, d) in dests.iter().enumerate() {
        if !eligible(d) {
            continue;
        }
        let weight = d.weight();
        for (rest, choice) in left.iter_mut().zip(&mut drawn) {
            *rest = rest.wrapping_sub(weight);
            if *rest <= 0 && choice.is_none() {
                *choice = Some((i, weight, overhead(d)));
            }
        }
        if drawn.iter().all(Option::is_some) {
            break;
        }
    }
    match drawn {
        [Some((a, wa, la)), Some((b, wb, lb))] => {
            Some(if wb.wrapping_mul(la) > wa.wrapping_mul(lb) {
                b
            } else {
                a
            })
        }
        [Some((a, ..)), None] => Some(a),
        // Weights changed meanwhile; the first one counts as having no load.
        [None, _] => Some(last),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{dest, Dest};
    use super::*;
    use proptest::prelude::*;

    fn d(weight: i32, total: i32) -> Dest {
        Dest {
            weight,
            total,
            ..Dest::default()
        }
    }

    #[test]
    fn the_less_loaded() {
        let dests = [d(1, 4), d(2, 4), d(1, 1)];
        let with = |a, b| {
            let mut n = [a, b].into_iter();
            pick(&dests, |ceil| {
                assert_eq!(ceil, 5);
                n.next().unwrap()
            })
        };
        assert_eq!(with(0, 0), Some(0));
        assert_eq!(with(1, 2), Some(1));
        assert_eq!(with(3, 0), Some(1));
        assert_eq!(with(0, 4), Some(2));
        assert_eq!(with(2, 4), Some(2));
    }

    #[test]
    fn draws_evenly() {
        let mut word = 0u32;
        let mut counts = [0u32; 3];
        for _ in 0..30_000 {
            let n = below(3, || {
                word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                word
            });
            counts[n as usize] += 1;
        }
        assert!(
            counts.iter().all(|n| (9_700..10_300).contains(n)),
            "{counts:?}"
        );
        assert_eq!(below(1, || 7), 0);
    }

    proptest! {
        #[test]
        fn only_eligible(dests in prop::collection::vec(dest(), 0..12), words: [u32; 2]) {
            let mut words = words.into_iter().cycle();
            let chosen = pick(&dests, |ceil| words.next().unwrap() % ceil);
            prop_assert_eq!(chosen.is_some(), dests.iter().any(eligible));
            prop_assert!(chosen.is_none_or(|i| eligible(&dests[i])));
        }
    }
}
