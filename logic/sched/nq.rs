// SPDX-License-Identifier: GPL-2.0
//! Never queue.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_nq.c.

use super::{sed::expected, DestView};

/// Chooses the first idle destination; without any, that with the shortest expected delay.
#[inline]
pub fn pick<D: DestView>(dests: &[D]) -> Option<usize> {
    let mut least = None;
    let (mut least_load, mut least_weight) = (0i64, 0i64);
    for (i, d) in dests.iter().enumerate() {
        if d.overloaded() || d.weight() == 0 {
            continue;
        }
        if d.active() == 0 {
            return Some(i);
        }
        let (load, weight) = (expected(d), i64::from(d.weight()));
        // Products of 32-bit numbers fit.
        if least.is_none() || least_load.wrapping_mul(weight) > load.wrapping_mul(least_weight) {
            (least, least_load, least_weight) = (Some(i), load, weight);
        }
    }
    least
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
