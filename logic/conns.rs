// SPDX-License-Identifier: GPL-2.0
//! How many connections a destination has, in one word: who looks at all destinations of a service reads
//! little, and who counts a connection adds once.
//!
//! C counterpart: `activeconns` and `inactconns` of `struct ip_vs_dest`, include/net/ip_vs.h

/// Numbers of connections. Two halves: the load, and the active ones.
///
/// The active ones are counted from the middle of their half: for a moment there can be less than
/// none, when CPUs move a connection from state to state at once, and that does not reach the load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conns(u64);

/// Where the lower half counts from.
const NO_ACTIVE: u32 = 1 << 31;

impl Conns {
    /// None.
    pub const NONE: Conns = Conns(NO_ACTIVE as u64);

    /// What is added for a connection that is not active.
    pub const ONE: u64 = 1 << 32;

    /// What is added when a connection becomes active.
    pub const ACTIVE: u64 = (256 << 32) | 1;

    /// So many active ones, so many in all.
    #[inline]
    pub const fn new(active: i32, total: i32) -> Conns {
        let load = (active as u32).wrapping_shl(8).wrapping_add(total as u32);
        Conns(((load as u64) << 32) | (active as u32).wrapping_add(NO_ACTIVE) as u64)
    }

    /// As stored by [`Conns::bits`].
    #[inline]
    pub const fn from_bits(bits: u64) -> Conns {
        Conns(bits)
    }

    /// As a plain number, for an atomic.
    #[inline]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The active ones.
    #[inline]
    pub const fn active(self) -> i32 {
        (self.0 as u32).wrapping_sub(NO_ACTIVE) as i32
    }

    /// The load they are (`ip_vs_dest_conn_overhead()`): an active connection counts as 257 inactive
    /// ones. Wraps around.
    #[inline]
    pub const fn load(self) -> i32 {
        (self.0 >> 32) as i32
    }

    /// All.
    #[inline]
    pub const fn total(self) -> i32 {
        self.load().wrapping_sub(self.active().wrapping_shl(8))
    }

    /// Those that are not active (`ip_vs_dest_inactconns()`); never negative, although one that
    /// just began may be active before it is counted.
    #[inline]
    pub const fn inactive(self) -> i32 {
        let n = self.total().wrapping_sub(self.active());
        if n < 0 {
            0
        } else {
            n
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn load() {
        assert_eq!(Conns::NONE, Conns::new(0, 0));
        assert_eq!(Conns::new(2, 3).load(), 515);
        assert_eq!(Conns::new(0, 7).load(), 7);
        assert_eq!(Conns::new(i32::MAX, i32::MAX).load(), i32::MAX - 256);
    }

    #[test]
    fn inactive_is_never_negative() {
        assert_eq!(Conns::new(3, 5).inactive(), 2);
        assert_eq!(Conns::new(5, 3).inactive(), 0);
        // The difference is taken with wrap-around first, as in C.
        assert_eq!(Conns::new(-1, i32::MAX).inactive(), 0);
        assert_eq!(Conns::new(i32::MAX, i32::MIN).inactive(), 1);
    }

    proptest! {
        #[test]
        fn holds_any(active: i32, total: i32) {
            let conns = Conns::new(active, total);
            prop_assert_eq!((conns.active(), conns.total()), (active, total));
        }

        #[test]
        fn counts(steps in prop::collection::vec((any::<bool>(), any::<bool>()), 0..50)) {
            let (mut active, mut total) = (0, 0);
            let mut bits = Conns::NONE.bits();
            for (is_active, is_more) in steps {
                let what = if is_active { Conns::ACTIVE } else { Conns::ONE };
                bits = if is_more { bits.wrapping_add(what) } else { bits.wrapping_sub(what) };
                *(if is_active { &mut active } else { &mut total }) += if is_more { 1 } else { -1 };
                let conns = Conns::from_bits(bits);
                prop_assert_eq!((conns.active(), conns.total()), (active, total));
            }
        }
    }
}
