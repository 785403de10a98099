// SPDX-License-Identifier: GPL-2.0
//! Source hashing.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_sh.c.

use super::{eligible, fold, hash_32, DestView};
use crate::addr::{Addr, Af, Port};

const BITS: u32 = 8;

/// Number of buckets.
pub const SIZE: usize = 1 << BITS;

const MASK: usize = SIZE - 1;

/// The bucket of a client. Port 0 if only the address counts.
#[inline]
pub const fn bucket(af: Af, addr: &Addr, port: Port) -> usize {
    hash_32((port.host() as u32).wrapping_add(fold(af, addr)), BITS) as usize
}

/// Gives the destinations, in turn, as many buckets as their weights are, at least one. Nothing
/// without destinations.
pub fn fill<D: DestView>(places: &mut [u16], dests: &[D]) {
    let (mut at, mut given) = (0usize, 0i32);
    for place in places {
        let Some(dest) = dests.get(at) else {
            return;
        };
        *place = at as u16;
        given = given.wrapping_add(1);
        if given >= dest.weight() {
            given = 0;
            at = at.wrapping_add(1);
            if at >= dests.len() {
                at = 0;
            }
        }
    }
}

/// The destination of a bucket, if it may get a connection. With `fallback` all others are tried
/// otherwise.
#[inline]
pub fn pick<D: DestView>(
    places: &[u16],
    dests: &[D],
    bucket: usize,
    fallback: bool,
) -> Option<usize> {
    let place = usize::from(*places.get(bucket)?);
    if eligible(dests.get(place)?) {
        return Some(place);
    }
    if fallback {
        reselect(places, dests, bucket)
    } else {
        None
    }
}

#[cold]
fn reselect<D: DestView>(places: &[u16], dests: &[D], bucket: usize) -> Option<usize> {
    for offset in 0..SIZE {
        // What is added to the hash has the hash in it already.
        let at = bucket.wrapping_mul(2).wrapping_add(offset) & MASK;
        let place = usize::from(*places.get(at)?);
        if eligible(dests.get(place)?) {
            return Some(place);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::{dest, Dest};
    use super::*;
    use proptest::prelude::*;

    fn table(dests: &[Dest]) -> Vec<u16> {
        let mut places = vec![0; if dests.is_empty() { 0 } else { SIZE }];
        fill(&mut places, dests);
        places
    }

    #[test]
    fn by_weight() {
        let d = |weight| Dest {
            weight,
            ..Dest::default()
        };
        assert_eq!(table(&[d(2), d(0), d(3)])[..8], [0, 0, 1, 2, 2, 2, 0, 0]);
        assert_eq!(table(&[d(300), d(1)])[255], 0);
    }

    proptest! {
        #[test]
        fn only_eligible(dests in prop::collection::vec(dest(), 0..300), b in 0..SIZE, f: bool) {
            let places = table(&dests);
            let chosen = pick(&places, &dests, b, f);
            prop_assert!(chosen.is_none_or(|i| eligible(&dests[i])));
            let in_table = |i: &u16| eligible(&dests[usize::from(*i)]);
            if f {
                prop_assert_eq!(chosen.is_some(), places.iter().any(in_table));
            }
            let own = places.get(b).filter(|i| in_table(i)).map(|i| usize::from(*i));
            prop_assert!(own.is_none() || own == chosen);
        }

        #[test]
        fn port_counts(addr: u32, port: u16) {
            let a = Addr::v4(addr.to_be());
            let sum = Addr::v4(addr.wrapping_add(u32::from(port)).to_be());
            let with = bucket(Af::Inet, &a, Port::from_host(port));
            prop_assert_eq!(with, bucket(Af::Inet, &sum, Port::ZERO));
        }
    }
}
