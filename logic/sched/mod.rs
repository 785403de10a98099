// SPDX-License-Identifier: GPL-2.0
//! Scheduling decisions over the destinations of one service.
//!
//! All functions take the destinations in the order stock keeps its list: the newest first. Adding
//! a destination puts it at index 0 and moves the others up.

pub mod dh;
pub mod fo;
pub mod lblc;
pub mod lc;
pub mod mh;
pub mod nq;
pub mod ovf;
pub mod rr;
pub mod sed;
pub mod sh;
pub mod twos;
pub mod wlc;
pub mod wrr;

use crate::{
    addr::{Addr, Af},
    conns::Conns,
};

/// What schedulers look at in a destination.
pub trait DestView {
    /// Its weight; 0 means no new connections.
    fn weight(&self) -> i32;
    /// Whether it has more connections than its threshold allows.
    fn overloaded(&self) -> bool;
    /// How many connections it has.
    fn conns(&self) -> Conns;
    /// Whether it is in its service, and not removed.
    fn available(&self) -> bool;
}

impl<D: DestView + ?Sized> DestView for &D {
    #[inline]
    fn weight(&self) -> i32 {
        (**self).weight()
    }

    #[inline]
    fn overloaded(&self) -> bool {
        (**self).overloaded()
    }

    #[inline]
    fn conns(&self) -> Conns {
        (**self).conns()
    }

    #[inline]
    fn available(&self) -> bool {
        (**self).available()
    }
}

/// Whether a destination may get a new connection.
#[inline]
pub fn eligible<D: DestView>(dest: &D) -> bool {
    !dest.overloaded() && dest.weight() > 0
}

/// The first destination of which `may` is true, and those after it.
#[inline]
pub(crate) fn first<D>(dests: &[D], may: impl Fn(&D) -> bool) -> Option<(&D, &[D])> {
    dests.get(dests.iter().position(may)?..)?.split_first()
}

/// Where in the list a destination of it stands. Scans of long lists keep the destination and ask for
/// its place at the end: counting on the way costs more than comparing.
#[inline]
pub(crate) fn place<D>(dests: &[D], dest: &D) -> Option<usize> {
    let bytes = core::ptr::from_ref(dest)
        .addr()
        .wrapping_sub(dests.as_ptr().addr());
    bytes.checked_div(size_of::<D>())
}

/// Chooses the destination with the least load per weight, the first of equals, among those that `may`
/// get a connection and have a weight.
///
/// `a / b < c / d` is decided as `a * d < c * b`. Once a first destination is found, others of weight
/// 0 lose against it, since no load is less than none.
#[inline]
pub(crate) fn least<D: DestView>(
    dests: &[D],
    load: impl Fn(&D) -> i32,
    may: impl Fn(&D) -> bool,
) -> Option<usize> {
    let (mut least, rest) = first(dests, |d| d.weight() > 0 && may(d))?;
    let mut least_load = i64::from(load(least));
    let mut least_weight = i64::from(least.weight());
    for d in rest {
        let (load, weight) = (i64::from(load(d)), i64::from(d.weight()));
        // Products of 32-bit numbers fit. Whether it may is asked last, as few come that far.
        if least_load.wrapping_mul(weight) > load.wrapping_mul(least_weight) && may(d) {
            (least, least_load, least_weight) = (d, load, weight);
        }
    }
    place(dests, least)
}

/// An address in 32 bits, as hashes take it: the words of an IPv6 address are XORed.
#[inline]
pub(crate) const fn fold(af: Af, addr: &Addr) -> u32 {
    match af {
        Af::Inet => addr.v4_host(),
        Af::Inet6 => {
            let [a, b, c, d] = *addr.words();
            u32::from_be(a ^ b ^ c ^ d)
        }
    }
}

/// The upper `bits` bits, 1 to 32, of a product with the golden ratio (`hash_32()`).
#[inline]
pub(crate) const fn hash_32(value: u32, bits: u32) -> u32 {
    value
        .wrapping_mul(0x61c8_8647)
        .wrapping_shr(32u32.wrapping_sub(bits))
}

/// The greatest common divisor; of 0 and a number, the number.
pub(crate) const fn gcd(a: i32, b: i32) -> i32 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a.wrapping_rem(b));
    }
    a
}

/// Greatest common divisor and maximum of the weights above 0; 0 if there are none.
pub(crate) fn gcd_max(weights: impl Iterator<Item = i32>) -> (i32, i32) {
    weights.filter(|w| *w > 0).fold((0, 0), |(g, max), w| {
        (gcd(w, g), if w > max { w } else { max })
    })
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{Conns, DestView};
    use proptest::prelude::*;

    /// A destination for tests.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub(crate) struct Dest {
        pub(crate) id: u32,
        pub(crate) weight: i32,
        pub(crate) overloaded: bool,
        pub(crate) active: i32,
        pub(crate) total: i32,
        pub(crate) removed: bool,
    }

    impl DestView for Dest {
        fn weight(&self) -> i32 {
            self.weight
        }
        fn overloaded(&self) -> bool {
            self.overloaded
        }
        fn conns(&self) -> Conns {
            Conns::new(self.active, self.total)
        }
        fn available(&self) -> bool {
            !self.removed
        }
    }

    pub(crate) fn dest() -> impl Strategy<Value = Dest> {
        let weight = prop_oneof![Just(0), 1..4i32, Just(i32::MAX), any::<i32>()];
        let count = prop_oneof![0..50i32, any::<i32>()];
        (any::<u32>(), weight, any::<bool>(), count.clone(), count).prop_map(
            |(id, weight, overloaded, active, total)| Dest {
                id,
                weight,
                overloaded,
                active,
                total,
                removed: false,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Dest;
    use super::*;

    #[test]
    fn arithmetic() {
        assert_eq!((gcd(12, 18), gcd(7, 0), gcd(0, 7), gcd(0, 0)), (6, 7, 7, 0));
        assert_eq!(gcd_max([4, 0, 6, -2].into_iter()), (2, 6));
        assert_eq!(gcd_max([0, 0].into_iter()), (0, 0));
        // 1 * 0x61c88647, its upper bits.
        assert_eq!((hash_32(1, 8), hash_32(1, 32)), (0x61, 0x61c8_8647));
        let six = Addr::from_words([1u32.to_be(), 2u32.to_be(), 4u32.to_be(), 8u32.to_be()]);
        assert_eq!(fold(Af::Inet6, &six), 15);
        assert_eq!(fold(Af::Inet, &six), 1);
    }

    #[test]
    fn eligibility() {
        let d = Dest {
            weight: 1,
            ..Dest::default()
        };
        assert!(eligible(&d));
        assert!(!eligible(&Dest {
            weight: 0,
            ..d.clone()
        }));
        assert!(!eligible(&Dest {
            weight: -1,
            ..d.clone()
        }));
        assert!(!eligible(&Dest {
            overloaded: true,
            ..d
        }));
    }
}
