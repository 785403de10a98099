// SPDX-License-Identifier: GPL-2.0
//! Maglev hashing: a table in which few clients move when a server comes or goes.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_mh.c.

use super::{eligible, fold, gcd_max, DestView};
use crate::addr::{Addr, Af, Port};
use crate::siphash::{hsiphash_tail, SipKey};

/// Number of buckets, a prime.
pub const SIZE: usize = 4093;

/// Bits of the turns that the heaviest destination has at most.
const TURN_BITS: u32 = 6;

/// Keys that all directors share.
const HASH: SipKey = SipKey::new([2_654_435_761, 2_654_435_761]);
const SKIP: SipKey = SipKey::new([2_654_446_892, 2_654_446_892]);

#[inline]
fn hash(key: &SipKey, value: u32) -> u32 {
    hsiphash_tail::<0, 4>(key, [], u64::from(value))
}

#[inline]
const fn value(af: Af, addr: &Addr, port: Port) -> u32 {
    (port.host() as u32).wrapping_add(fold(af, addr))
}

#[inline]
fn bucket_of(value: u32) -> usize {
    hash(&HASH, value) as usize % SIZE
}

/// A destination while a table is made.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    weight: i32,
    next: usize,
    skip: usize,
    turns: i32,
}

impl Setup {
    /// For a destination with this address and port, and the last weight it had that was not 0. The
    /// family is that of the service.
    pub fn new(af: Af, addr: &Addr, port: Port, last_weight: i32) -> Setup {
        let value = value(af, addr, port);
        Setup {
            weight: last_weight,
            next: bucket_of(value),
            skip: (hash(&SKIP, value) as usize % (SIZE - 1)).wrapping_add(1),
            turns: 0,
        }
    }
}

/// Says which destination each bucket has. `places` and `taken` have [`SIZE`] elements, those of
/// `taken` are false. Returns false if none has any: no destination ever had a weight.
pub fn fill(places: &mut [u16], taken: &mut [bool], dests: &mut [Setup]) -> bool {
    let (gcd, max) = gcd_max(dests.iter().map(|d| d.weight));
    if gcd < 1 {
        return false;
    }
    let units = |weight: i32| weight.checked_div(gcd).unwrap_or(0);
    let bits = 32u32.wrapping_sub(units(max).leading_zeros());
    let shift = bits.saturating_sub(TURN_BITS);
    for d in dests.iter_mut() {
        let turns = units(d.weight).wrapping_shr(shift);
        d.turns = if turns != 0 {
            turns
        } else {
            i32::from(d.weight != 0)
        };
    }
    let mut left = places.len().min(taken.len()).min(SIZE);
    // Each in turn takes the buckets it prefers, as long as there are any.
    loop {
        for (i, d) in dests.iter_mut().enumerate() {
            for _ in 0..d.turns {
                while taken.get(d.next).copied().unwrap_or(false) {
                    d.next = d.next.wrapping_add(d.skip);
                    if d.next >= SIZE {
                        d.next = d.next.wrapping_sub(SIZE);
                    }
                }
                let (Some(t), Some(place)) = (taken.get_mut(d.next), places.get_mut(d.next)) else {
                    return false;
                };
                (*t, *place) = (true, i as u16);
                left = left.wrapping_sub(1);
                if left == 0 {
                    return true;
                }
            }
        }
    }
}

/// The destination of a client, if it may get a connection. With `fallback` others are tried
/// otherwise. Port 0 if only the address counts.
#[inline]
pub fn pick<D: DestView>(
    places: &[u16],
    dests: &[D],
    (af, addr, port): (Af, &Addr, Port),
    fallback: bool,
) -> Option<usize> {
    let value = value(af, addr, port);
    let bucket = bucket_of(value);
    let place = usize::from(*places.get(bucket)?);
    if eligible(dests.get(place)?) {
        return Some(place);
    }
    if fallback {
        reselect(places, dests, value, bucket)
    } else {
        None
    }
}

#[cold]
fn reselect<D: DestView>(places: &[u16], dests: &[D], value: u32, bucket: usize) -> Option<usize> {
    for offset in 0..SIZE {
        let offset = offset.wrapping_add(bucket) % SIZE;
        let at = bucket_of(value.wrapping_add(offset as u32));
        let place = usize::from(*places.get(at)?);
        if eligible(dests.get(place)?) {
            return Some(place);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::Dest;
    use super::*;
    use proptest::prelude::*;

    fn table(weights: &[(u8, i32)]) -> Option<Vec<u16>> {
        let setup = |(n, w): &(u8, i32)| {
            let addr = Addr::v4(u32::from_be_bytes([10, 0, 0, *n]).to_be());
            Setup::new(Af::Inet, &addr, Port::from_host(80), *w)
        };
        let mut dests: Vec<Setup> = weights.iter().map(setup).collect();
        let mut places = vec![0; SIZE];
        fill(&mut places, &mut vec![false; SIZE], &mut dests).then_some(places)
    }

    fn counts(table: &[u16], n: usize) -> Vec<usize> {
        let mut counts = vec![0; n];
        table.iter().for_each(|i| counts[usize::from(*i)] += 1);
        counts
    }

    #[test]
    fn weights() {
        assert_eq!(table(&[]), None);
        assert_eq!(table(&[(1, 0), (2, 0)]), None);
        let t = table(&[(1, 0), (2, 5)]).unwrap();
        assert!(t.iter().all(|i| *i == 1));
        let c = counts(&table(&[(1, 10), (2, 20), (3, 30)]).unwrap(), 3);
        assert!(c[0].abs_diff(682) < 8 && c[1].abs_diff(1364) < 8, "{c:?}");
        // More than the table can tell apart: the small one has a turn all the same.
        let c = counts(&table(&[(1, 1), (2, 1_000_000)]).unwrap(), 2);
        assert!(c[0].abs_diff(SIZE / 62) < 8, "{c:?}");
    }

    #[test]
    fn fallback() {
        let t = table(&[(1, 1), (2, 1)]).unwrap();
        let d = |weight| Dest {
            weight,
            ..Dest::default()
        };
        for n in 0..200u32 {
            let addr = Addr::v4(n.to_be());
            let client = (Af::Inet, &addr, Port::ZERO);
            let own = pick(&t, &[d(1), d(1)], client, false).unwrap();
            let other = pick(&t, &[d(own as i32), d(1 - own as i32)], client, true);
            assert_eq!(other, Some(1 - own));
            assert_eq!(
                pick(&t, &[d(own as i32), d(1 - own as i32)], client, false),
                None
            );
            assert_eq!(pick(&t, &[d(0), d(0)], client, true), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn shares_follow_weights(w in prop::collection::vec(1..32i32, 1..20)) {
            let list: Vec<_> = w.iter().enumerate().map(|(i, w)| (i as u8, *w)).collect();
            let c = counts(&table(&list).unwrap(), w.len());
            let sum: i32 = w.iter().sum();
            for (c, w) in c.iter().zip(&w) {
                // All take their turns; who is in the last, unfinished round has one more.
                let share = SIZE as f64 * f64::from(*w) / f64::from(sum);
                prop_assert!((*c as f64 - share).abs() <= f64::from(*w) + 1.0, "{} {}", c, share);
            }
        }
    }

    /// Parts of the table that move when each of `n` destinations is removed, times `n`.
    fn moved(n: u8) -> Vec<f64> {
        let all: Vec<_> = (0..n).map(|i| (i, 1)).collect();
        let before = table(&all).unwrap();
        let part = |gone: usize| {
            let mut rest = all.clone();
            rest.remove(gone);
            let after = table(&rest).unwrap();
            let other = |(b, a): &(&u16, &u16)| all[usize::from(**b)].0 != rest[usize::from(**a)].0;
            before.iter().zip(&after).filter(other).count() as f64 * f64::from(n) / SIZE as f64
        };
        (0..all.len()).map(part).collect()
    }

    /// The more destinations share the table, the more moves besides what must; how much is a matter of
    /// the table, which has stock's size and contents.
    #[test]
    #[cfg_attr(miri, ignore = "takes long")]
    fn few_move() {
        for n in 2..=20 {
            let parts = moved(n);
            let average = parts.iter().sum::<f64>() / f64::from(n);
            let most = parts.into_iter().fold(0.0, f64::max);
            let limit = |small| if n <= small { 1.2 } else { 1.5 };
            assert!(most <= limit(12), "{n}: {most}");
            assert!(average <= limit(14), "{n}: {average}");
        }
    }
}
