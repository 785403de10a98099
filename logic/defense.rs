// SPDX-License-Identifier: GPL-2.0
//! When to defend: what the modes of drop_entry, drop_packet and secure_tcp come to when memory is
//! short, and which connections may go.
//!
//! C counterparts: `update_defense_level()`, net/netfilter/ipvs/ip_vs_ctl.c, and `todrop_entry()`,
//! net/netfilter/ipvs/ip_vs_conn.c

/// Greatest mode.
pub const MODE_MAX: i32 = 3;

/// Memory there is and memory there should be, in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Free, and in buffers.
    pub available: u64,
    /// sysctl `amemthresh`.
    pub threshold: i32,
}

impl Memory {
    /// Whether there is less than there should be.
    pub fn is_short(&self) -> bool {
        self.available < u64::from(self.threshold.max(0) as u32)
    }

    /// One in how many packets is dropped while memory is short: the shorter it is, the more.
    pub fn drop_rate(&self) -> i32 {
        let threshold = u64::from(self.threshold.max(0) as u32);
        let missing = threshold.saturating_sub(self.available);
        let rate = threshold.checked_div(missing).unwrap_or(0);
        i32::try_from(rate).unwrap_or(i32::MAX)
    }
}

/// The mode after a look at memory, and whether the defense is on: 0 is off, 3 is on; 1 and 2 turn
/// into each other, 1 while there is memory and 2 while there is not.
pub const fn step(mode: i32, short: bool) -> (i32, bool) {
    match (mode, short) {
        (1 | 2, true) => (2, true),
        (1 | 2, false) => (1, false),
        (MODE_MAX, _) => (MODE_MAX, true),
        (mode, _) => (mode, false),
    }
}

/// Connections that may be dropped had this many packets at the most.
pub const MAX_PKTS: usize = 8;

/// Of the connections that had `n` packets, one in `n` is dropped.
///
/// `left` counts down for one number of packets; gives what it is next, and whether this
/// connection goes.
pub const fn count_down(left: i8, n: usize) -> (i8, bool) {
    let next = left.saturating_sub(1);
    if next > 0 {
        (next, false)
    } else {
        (n as i8, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn modes() {
        for short in [false, true] {
            assert_eq!(step(0, short), (0, false));
            assert_eq!(step(3, short), (3, true));
        }
        assert_eq!(step(1, false), (1, false));
        assert_eq!(step(1, true), (2, true));
        assert_eq!(step(2, true), (2, true));
        assert_eq!(step(2, false), (1, false));
    }

    #[test]
    fn memory() {
        let m = |available, threshold| Memory {
            available,
            threshold,
        };
        assert!(!m(1024, 1024).is_short());
        assert!(m(1023, 1024).is_short());
        assert!(!m(0, 0).is_short() && !m(0, -5).is_short());
        assert_eq!(m(0, 1024).drop_rate(), 1);
        assert_eq!(m(512, 1024).drop_rate(), 2);
        assert_eq!(m(1023, 1024).drop_rate(), 1024);
        assert_eq!(m(2000, 1024).drop_rate(), 0);
    }

    #[test]
    fn one_in_n() {
        for n in 1..=MAX_PKTS {
            let mut left = 0;
            let mut dropped = 0;
            for _ in 0..10 * n {
                let (next, drop) = count_down(left, n);
                left = next;
                dropped += usize::from(drop);
            }
            assert_eq!(dropped, 10, "{n}");
        }
    }

    proptest! {
        #[test]
        fn modes_stay_modes(mode in 0..=MODE_MAX, short: bool) {
            let (next, on) = step(mode, short);
            prop_assert!((0..=MODE_MAX).contains(&next));
            prop_assert_eq!(on, next > 1);
            prop_assert_eq!(step(next, short), (next, on));
        }

        #[test]
        fn rates(available: u64, threshold: i32) {
            let m = Memory { available, threshold };
            prop_assert_eq!(m.is_short(), m.drop_rate() > 0);
        }
    }
}
