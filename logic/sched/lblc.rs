// SPDX-License-Identifier: GPL-2.0
//! Locality-based least connection, without and with replication: an address stays with its server, or with a
//! few, as long as these are not overloaded while others have little to do.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_lblc.c.

use super::{first, fold, hash_32, place, DestView};
use crate::addr::{Addr, Af};

/// More entries than this are too many: the oldest go.
pub const MAX_ENTRIES: i32 = 16 << TABLE_BITS;

/// log2 of the number of buckets.
pub const TABLE_BITS: u32 = 10;

/// The hash of an address: as many of its high bits as `TABLE_BITS` are the number of its bucket.
#[inline]
pub const fn hash(af: Af, addr: &Addr) -> u32 {
    hash_32(fold(af, addr), u32::BITS)
}

/// Whether there is no place for one more entry.
pub const fn is_full(entries: i32) -> bool {
    entries >= MAX_ENTRIES / 2 * 3
}

/// Seconds between two looks at the table.
pub const CHECK_INTERVAL: u32 = 60;

/// Seconds after which an unused entry goes when there are too many.
pub const ENTRY_TIMEOUT: u32 = 6 * 60;

/// Seconds after which an unused entry goes, if nothing else is configured.
pub const EXPIRATION: u32 = 24 * 60 * 60;

/// Each so many looks is one for all that has expired.
const FULL_CHECK: u32 = 30;

/// What a look at the table is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// Take out all that was not used for the configured time.
    Full,
    /// Take out about as many that were not used for [`ENTRY_TIMEOUT`].
    Some(i32),
    /// Nothing.
    Nothing,
}

/// The next look at a table with that many entries. `counter` starts with 1.
pub fn check(counter: &mut u32, entries: i32) -> Check {
    if *counter % FULL_CHECK == 0 {
        *counter = 1;
        Check::Full
    } else if entries <= MAX_ENTRIES {
        *counter = counter.wrapping_add(1);
        Check::Nothing
    } else {
        let over = entries.wrapping_sub(MAX_ENTRIES).wrapping_mul(4) / 3;
        Check::Some(over.min(MAX_ENTRIES / 2))
    }
}

/// Whether a destination has more than it should while another one has less than half of that.
#[inline]
pub fn is_overloaded<D: DestView>(dest: &D, dests: &[D]) -> bool {
    dest.conns().active() > dest.weight()
        && dests
            .iter()
            .any(|d| d.conns().active().wrapping_mul(2) < d.weight())
}

/// The one of a set with the least load for its weight.
#[inline]
pub fn least<D: DestView>(set: &[D]) -> Option<usize> {
    super::least(
        set,
        |d| d.conns().load(),
        |d| !d.overloaded() && d.available(),
    )
}

/// The one of a set with the most load for its weight, whether it may get connections or not.
pub fn most<D: DestView>(set: &[D]) -> Option<usize> {
    let (mut most, rest) = first(set, |d| d.weight() > 0)?;
    let of = |d: &D| (i64::from(d.conns().load()), i64::from(d.weight()));
    let (mut most_load, mut most_weight) = of(most);
    for d in rest {
        let (load, weight) = of(d);
        if weight > 0 && most_load.wrapping_mul(weight) < load.wrapping_mul(most_weight) {
            (most, most_load, most_weight) = (d, load, weight);
        }
    }
    place(set, most)
}

#[cfg(test)]
mod tests {
    use super::super::{
        eligible,
        testing::{dest, Dest},
        wlc,
    };
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn looks() {
        let mut counter = 1;
        for _ in 1..30 {
            assert_eq!(check(&mut counter, 5), Check::Nothing);
        }
        assert_eq!(check(&mut counter, 5), Check::Full);
        assert_eq!(counter, 1);
        assert_eq!(check(&mut counter, MAX_ENTRIES + 3), Check::Some(4));
        assert_eq!(
            check(&mut counter, i32::MAX / 4),
            Check::Some(MAX_ENTRIES / 2)
        );
        assert_eq!(counter, 1);
        assert!(is_full(24576) && !is_full(24575));
    }

    #[test]
    fn overloaded() {
        let d = |weight, active| Dest {
            weight,
            active,
            ..Dest::default()
        };
        let dests = [d(2, 3), d(4, 2)];
        assert!(!is_overloaded(&dests[0], &dests));
        let dests = [d(2, 3), d(4, 1)];
        assert!(is_overloaded(&dests[0], &dests));
        assert!(!is_overloaded(&dests[1], &dests));
    }

    proptest! {
        #[test]
        fn least_of_a_set(set in prop::collection::vec(dest(), 0..8)) {
            prop_assert_eq!(least(&set), wlc::pick(&set));
            let mut set = set;
            for d in set.iter_mut().step_by(2) {
                d.removed = true;
            }
            let chosen = least(&set);
            prop_assert!(chosen.is_none_or(|i| !set[i].removed && !set[i].overloaded));
            prop_assert_eq!(chosen.is_some(), set.iter().any(|d| eligible(d) && !d.removed));
        }

        #[test]
        fn most_of_a_set(list in prop::collection::vec((0..4i32, 0..9i32), 0..8)) {
            let set: Vec<Dest> = list.into_iter()
                .map(|(weight, total)| Dest { weight, total, ..Dest::default() })
                .collect();
            let most = most(&set);
            prop_assert_eq!(most.is_some(), set.iter().any(|d| d.weight > 0));
            if let Some(m) = most {
                let of = |d: &Dest| f64::from(d.total) / f64::from(d.weight);
                prop_assert!(set.iter().filter(|d| d.weight > 0).all(|d| of(d) <= of(&set[m]) + 1e-9));
            }
        }
    }
}
