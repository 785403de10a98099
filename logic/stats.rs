// SPDX-License-Identifier: GPL-2.0
//! What is counted, and the rates that [`crate::est`] makes of it. All sums wrap around.
//!
//! C counterpart: `struct ip_vs_kstats`, include/net/ip_vs.h

/// Counts since a service, a destination or a namespace began to exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Connections scheduled.
    pub conns: u64,
    /// Packets from clients.
    pub inpkts: u64,
    /// Packets to clients.
    pub outpkts: u64,
    /// Bytes from clients.
    pub inbytes: u64,
    /// Bytes to clients.
    pub outbytes: u64,
}

impl Counters {
    /// All zero.
    pub const ZERO: Counters = Counters {
        conns: 0,
        inpkts: 0,
        outpkts: 0,
        inbytes: 0,
        outbytes: 0,
    };

    #[inline]
    fn map2(&self, other: &Counters, f: impl Fn(u64, u64) -> u64) -> Counters {
        Counters {
            conns: f(self.conns, other.conns),
            inpkts: f(self.inpkts, other.inpkts),
            outpkts: f(self.outpkts, other.outpkts),
            inbytes: f(self.inbytes, other.inbytes),
            outbytes: f(self.outbytes, other.outbytes),
        }
    }

    /// `f` of each.
    #[inline]
    pub fn map(&self, f: impl Fn(u64) -> u64) -> Counters {
        self.map2(self, |n, _| f(n))
    }

    /// The sum, as of the counters of several CPUs.
    #[inline]
    pub fn plus(&self, other: &Counters) -> Counters {
        self.map2(other, u64::wrapping_add)
    }

    /// The difference, as to the counters when they were last zeroed.
    #[inline]
    pub fn minus(&self, zero: &Counters) -> Counters {
        self.map2(zero, u64::wrapping_sub)
    }
}

/// Rates per second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    /// Connections.
    pub cps: u64,
    /// Packets from clients.
    pub inpps: u64,
    /// Packets to clients.
    pub outpps: u64,
    /// Bytes from clients.
    pub inbps: u64,
    /// Bytes to clients.
    pub outbps: u64,
}

/// What is shown to user space: counts since the last zeroing, and rates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// The counts.
    pub counters: Counters,
    /// The rates.
    pub rates: Rates,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn wraps(a: [u64; 5], b: [u64; 5]) {
            let c = |v: [u64; 5]| Counters {
                conns: v[0], inpkts: v[1], outpkts: v[2], inbytes: v[3], outbytes: v[4],
            };
            prop_assert_eq!(c(a).plus(&c(b)).minus(&c(b)), c(a));
            prop_assert_eq!(c(a).plus(&c(b)), c(b).plus(&c(a)));
            prop_assert_eq!(c(a).minus(&Counters::ZERO), c(a));
        }
    }
}
