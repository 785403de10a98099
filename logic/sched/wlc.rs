// SPDX-License-Identifier: GPL-2.0
//! Weighted least connection.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_wlc.c.

use super::{least, DestView};

/// Chooses the destination with the least load per weight, the first of equals.
#[inline]
pub fn pick<D: DestView>(dests: &[D]) -> Option<usize> {
    least(dests, |d| d.conns().load(), |d| !d.overloaded())
}

#[cfg(test)]
mod tests {
    use super::super::{
        eligible,
        testing::{dest, Dest},
    };
    use super::*;
    use proptest::prelude::*;

    fn d(weight: i32, active: i32, total: i32) -> Dest {
        Dest {
            weight,
            active,
            total,
            ..Dest::default()
        }
    }

    #[test]
    fn least_load() {
        assert_eq!(pick(&[d(1, 3, 3), d(1, 1, 1), d(1, 2, 2)]), Some(1));
        // The first of equals.
        assert_eq!(pick(&[d(1, 1, 1), d(1, 1, 1)]), Some(0));
        // Twice the weight carries twice the load.
        assert_eq!(pick(&[d(1, 1, 1), d(2, 2, 2)]), Some(0));
        assert_eq!(pick(&[d(2, 2, 2), d(1, 1, 1)]), Some(0));
        assert_eq!(pick(&[d(1, 2, 2), d(2, 3, 3)]), Some(1));
        // An active connection outweighs 256 inactive ones.
        assert_eq!(pick(&[d(1, 0, 257), d(1, 1, 1)]), Some(0));
        assert_eq!(pick(&[d(1, 0, 258), d(1, 1, 1)]), Some(1));
    }

    #[test]
    fn none_and_one() {
        assert_eq!(pick::<Dest>(&[]), None);
        assert_eq!(pick(&[d(0, 0, 0), d(-1, 0, 0)]), None);
        assert_eq!(pick(&[d(0, 0, 0), d(1, 9, 9), d(0, 0, 0)]), Some(1));
        let over = Dest {
            overloaded: true,
            ..d(9, 0, 0)
        };
        assert_eq!(pick(&[over.clone(), d(1, 9, 9), over.clone()]), Some(1));
        assert_eq!(pick(&[over]), None);
    }

    #[test]
    fn extremes_fit() {
        let big = d(i32::MAX, i32::MAX, i32::MAX);
        assert_eq!(pick(&[big.clone(), big]), Some(0));
    }

    proptest! {
        #[test]
        fn nobody_carries_less_per_weight(
            list in prop::collection::vec((0..20i32, any::<bool>(), 0..1000i32, 0..5000i32), 0..20)
        ) {
            let list: Vec<_> = list
                .into_iter()
                .map(|(w, overloaded, a, t)| Dest { overloaded, ..d(w, a, t) })
                .collect();
            let load = |d: &Dest| f64::from(d.active * 256 + d.total) / f64::from(d.weight);
            let usable = |d: &&Dest| d.weight > 0 && !d.overloaded;
            match pick(&list) {
                None => prop_assert_eq!(list.iter().filter(usable).count(), 0),
                Some(i) => {
                    prop_assert!(usable(&&list[i]));
                    for (j, other) in list.iter().enumerate().filter(|(_, d)| usable(d)) {
                        prop_assert!(load(&list[i]) <= load(other));
                        prop_assert!(load(&list[i]) < load(other) || i <= j);
                    }
                }
            }
        }

        #[test]
        fn any_numbers(list in prop::collection::vec(dest(), 0..20)) {
            if let Some(i) = pick(&list) {
                prop_assert!(!list[i].overloaded);
            } else {
                prop_assert!(!list.iter().any(eligible));
            }
        }
    }
}
