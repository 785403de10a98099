// SPDX-License-Identifier: GPL-2.0
//! Shortest expected delay.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_sed.c.

use super::{eligible, first, place, DestView};

/// Connections a destination would have with one more.
#[inline]
pub(super) fn expected<D: DestView>(dest: &D) -> i64 {
    i64::from(dest.active().wrapping_add(1))
}

/// Chooses the destination that one more connection would burden least for its weight, the first of
/// equals.
#[inline]
pub fn pick<D: DestView>(dests: &[D]) -> Option<usize> {
    let (mut least, rest) = first(dests, eligible)?;
    let mut least_load = expected(least);
    let mut least_weight = i64::from(least.weight());
    for d in rest {
        if d.overloaded() {
            continue;
        }
        let (load, weight) = (expected(d), i64::from(d.weight()));
        // Products of 32-bit numbers fit. One of weight 0 never wins: no load is below 1.
        if least_load.wrapping_mul(weight) > load.wrapping_mul(least_weight) {
            (least, least_load, least_weight) = (d, load, weight);
        }
    }
    place(dests, least)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Dest;
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn sane() -> impl Strategy<Value = Dest> {
        (0..5i32, any::<bool>(), 0..50i32).prop_map(|(weight, overloaded, active)| Dest {
            weight,
            overloaded,
            active,
            ..Dest::default()
        })
    }

    proptest! {
        #[test]
        fn none_is_less(dests in prop::collection::vec(sane(), 0..12)) {
            let chosen = pick(&dests);
            prop_assert_eq!(chosen.is_some(), dests.iter().any(eligible));
            if let Some(c) = chosen {
                prop_assert!(eligible(&dests[c]));
                let of = |d: &Dest| f64::from(d.active + 1) / f64::from(d.weight);
                for (i, d) in dests.iter().enumerate().filter(|(_, d)| eligible(*d)) {
                    prop_assert!(of(d) > of(&dests[c]) - 1e-9);
                    prop_assert!(i >= c || of(d) > of(&dests[c]) + 1e-9);
                }
            }
        }
    }
}
