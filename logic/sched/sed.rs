// SPDX-License-Identifier: GPL-2.0
//! Shortest expected delay.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_sed.c.

use super::{least, DestView};

/// Connections a destination would have with one more.
#[inline]
pub(super) fn expected<D: DestView>(dest: &D) -> i32 {
    dest.conns().active().wrapping_add(1)
}

/// Chooses the destination that one more connection would burden least for its weight, the first of
/// equals.
#[inline]
pub fn pick<D: DestView>(dests: &[D]) -> Option<usize> {
    least(dests, expected, |d| !d.overloaded())
}

#[cfg(test)]
mod tests {
    use super::super::{eligible, testing::Dest};
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
