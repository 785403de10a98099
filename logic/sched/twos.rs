// SPDX-License-Identifier: GPL-2.0
//! Power of two choices: of two servers drawn by weight, the less loaded one.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_twos.c.

use super::{place, DestView};

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

/// The weight of a destination that may get a connection, otherwise 0.
#[inline]
fn share<D: DestView>(dest: &D) -> i32 {
    if dest.overloaded() {
        0
    } else {
        dest.weight()
    }
}

/// Chooses the less loaded for its weight of two destinations, which may be the same, that are drawn
/// with `draw(n)`: a random number below `n`.
pub fn pick<D: DestView>(dests: &[D], mut draw: impl FnMut(u32) -> u32) -> Option<usize> {
    let mut sum = 0i32;
    let mut last = None;
    for d in dests {
        let share = share(d);
        if share > 0 {
            (sum, last) = (sum.wrapping_add(share), Some(d));
        }
    }
    let last = last?;
    // One more than the weights are: both 0 and 1 mean the first destination.
    let ceil = (sum.wrapping_add(1) as u32).max(1);
    let [one, two] = [draw(ceil), draw(ceil)].map(|n| (n as i32).max(1));
    // That of the lower number is on the way to the other. None is found if weights changed meanwhile.
    let (mut ahead, mut sum, mut at) = (dests.iter(), 0i32, last);
    let mut reach = |number: i32| {
        while sum < number {
            let Some(d) = ahead.next() else {
                break;
            };
            let share = share(d);
            if share > 0 {
                (sum, at) = (sum.wrapping_add(share), d);
            }
        }
        at
    };
    let (near, far) = (reach(one.min(two)), reach(one.max(two)));
    let (a, b) = if one <= two { (near, far) } else { (far, near) };
    let load = |d: &D, other: &D| d.conns().load().wrapping_mul(other.weight());
    place(dests, if load(a, b) > load(b, a) { b } else { a })
}

#[cfg(test)]
mod tests {
    use super::super::{
        eligible,
        testing::{dest, Dest},
    };
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
