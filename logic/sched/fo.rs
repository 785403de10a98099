// SPDX-License-Identifier: GPL-2.0
//! Weighted failover.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_fo.c.

use super::{place, DestView};

/// Chooses the destination of the highest weight, the first of equals.
#[inline]
pub fn pick<D: DestView>(dests: &[D]) -> Option<usize> {
    let mut best = None;
    let mut highest = 0;
    for d in dests {
        let weight = d.weight();
        if weight > highest && !d.overloaded() {
            (best, highest) = (Some(d), weight);
        }
    }
    place(dests, best?)
}

#[cfg(test)]
mod tests {
    use super::super::{
        eligible,
        testing::{dest, Dest},
    };
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_highest(dests in prop::collection::vec(dest(), 0..12)) {
            let highest = dests.iter().filter(|d| eligible(*d)).map(|d| d.weight).max();
            let first = |d: &Dest| eligible(d) && Some(d.weight) == highest;
            prop_assert_eq!(pick(&dests), dests.iter().position(first));
        }
    }
}
