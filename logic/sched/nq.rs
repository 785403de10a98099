// SPDX-License-Identifier: GPL-2.0
//! Never queue.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_nq.c.

use super::{first, place, sed::expected, DestView};

/// Chooses the first idle destination; without any, that with the shortest expected delay.
#[inline]
pub fn pick<D: DestView>(dests: &[D]) -> Option<usize> {
    let may = |d: &D| !d.overloaded() && d.weight() != 0;
    let (mut least, rest) = first(dests, may)?;
    let mut least_load = i64::from(expected(least));
    let mut least_weight = i64::from(least.weight());
    // Idle: the new one would be the only one.
    if least_load == 1 {
        return place(dests, least);
    }
    for d in rest {
        let (load, weight) = (i64::from(expected(d)), i64::from(d.weight()));
        if load == 1 && may(d) {
            return place(dests, d);
        }
        // Products of 32-bit numbers fit.
        if least_load.wrapping_mul(weight) > load.wrapping_mul(least_weight) && may(d) {
            (least, least_load, least_weight) = (d, load, weight);
        }
    }
    place(dests, least)
}

#[cfg(test)]
mod tests {
    use super::super::{eligible, sed, testing::Dest};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn idle_first(list in prop::collection::vec((0..4i32, any::<bool>(), 0..4i32), 0..12)) {
            let dest = |(weight, overloaded, active)| Dest {
                weight, overloaded, active, ..Dest::default()
            };
            let dests: Vec<Dest> = list.into_iter().map(dest).collect();
            let idle = dests.iter().position(|d| eligible(d) && d.active == 0);
            prop_assert_eq!(pick(&dests), idle.or(sed::pick(&dests)));
        }
    }
}
