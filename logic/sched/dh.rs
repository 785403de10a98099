// SPDX-License-Identifier: GPL-2.0
//! Destination hashing.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_dh.c.

use super::{fold, hash_32, DestView};
use crate::addr::{Addr, Af};

const BITS: u32 = 8;

/// Number of buckets.
pub const SIZE: usize = 1 << BITS;

/// The bucket of an address.
#[inline]
pub const fn bucket(af: Af, addr: &Addr) -> usize {
    hash_32(fold(af, addr), BITS) as usize
}

/// Gives each bucket one of `count` destinations, in turn. Nothing for 0.
pub fn fill(places: &mut [u16], count: usize) {
    let turn = (0..count).map(|i| i as u16).cycle();
    for (place, dest) in places.iter_mut().zip(turn) {
        *place = dest;
    }
}

/// The destination of a bucket, if it may get a connection.
#[inline]
pub fn pick<D: DestView>(places: &[u16], dests: &[D], bucket: usize) -> Option<usize> {
    let place = usize::from(*places.get(bucket)?);
    let dest = dests.get(place)?;
    (dest.available() && dest.weight() > 0 && !dest.overloaded()).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Dest;
    use super::*;

    #[test]
    fn in_turn() {
        let mut places = [9; SIZE];
        fill(&mut places, 3);
        assert_eq!(places[..5], [0, 1, 2, 0, 1]);
        let mut empty = [9; 2];
        fill(&mut empty, 0);
        assert_eq!(empty, [9, 9]);
        let mut many = [0; SIZE];
        fill(&mut many, 300);
        assert_eq!(many[255], 255);
    }

    #[test]
    fn buckets() {
        // 10.0.0.1: the upper byte of 0x0a000001 * 0x61c88647.
        let addr = Addr::v4(0x0a00_0001u32.to_be());
        assert_eq!(
            bucket(Af::Inet, &addr),
            0x0a00_0001u32.wrapping_mul(0x61c8_8647) as usize >> 24
        );
    }

    #[test]
    fn only_who_may() {
        let ok = Dest {
            weight: 1,
            ..Dest::default()
        };
        let no = [
            Dest {
                removed: true,
                ..ok.clone()
            },
            Dest {
                overloaded: true,
                ..ok.clone()
            },
            Dest::default(),
        ];
        let dests = [&no[..], &[ok][..]].concat();
        let places = [0, 1, 2, 3, 4];
        let picks: Vec<_> = (0..6).map(|b| pick(&places, &dests, b)).collect();
        assert_eq!(picks, [None, None, None, Some(3), None, None]);
    }
}
