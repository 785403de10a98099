// SPDX-License-Identifier: GPL-2.0
//! Overflow: a server is filled up to its weight before the next one gets anything.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_ovf.c.

use super::{place, DestView};

/// Chooses the destination of the highest weight, the first of equals, among those with no more
/// active connections than their weight.
#[inline]
pub fn pick<D: DestView>(dests: &[D]) -> Option<usize> {
    let mut best = None;
    let mut highest = 0;
    for d in dests {
        let weight = d.weight();
        if weight > highest && d.conns().active() <= weight && !d.overloaded() {
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

    #[test]
    fn flows_over() {
        let d = |weight, active| Dest {
            weight,
            active,
            ..Dest::default()
        };
        assert_eq!(pick(&[d(1, 0), d(3, 3)]), Some(1));
        assert_eq!(pick(&[d(1, 1), d(3, 4)]), Some(0));
        assert_eq!(pick(&[d(1, 2), d(3, 4)]), None);
    }

    proptest! {
        #[test]
        fn the_highest_with_room(dests in prop::collection::vec(dest(), 0..12)) {
            let may = |d: &Dest| eligible(d) && d.active <= d.weight;
            let highest = dests.iter().filter(|d| may(d)).map(|d| d.weight).max();
            let first = |d: &Dest| may(d) && Some(d.weight) == highest;
            prop_assert_eq!(pick(&dests), dests.iter().position(first));
        }
    }
}
