// SPDX-License-Identifier: GPL-2.0
//! Counters and the rates estimated from them.
//!
//! Every two seconds the average moves a quarter of the way to the rate of the last two. Averages
//! are kept scaled, connections and packets by 2^10, bytes by 2^5. All sums wrap around. C
//! counterpart: net/netfilter/ipvs/ip_vs_est.c.

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

/// Seconds between samples.
pub const PERIOD_SECS: u32 = 2;

/// The scale of connections and packets is 2^10; a difference over two seconds has half of that.
const COUNT_SHIFT: u32 = 9;
/// The scale of bytes is 2^5; a difference over two seconds has half of that.
const BYTES_SHIFT: u32 = 4;

/// Moves a scaled average towards the rate that `last` and `now` make.
#[inline]
const fn step(avg: u64, last: u64, now: u64, shift: u32) -> u64 {
    let rate = now.wrapping_sub(last) << shift;
    let quarter = (rate as i64).wrapping_sub(avg as i64) >> 2;
    avg.wrapping_add(quarter as u64)
}

/// The rate of a scaled average, with almost half added before the scale is taken off.
#[inline]
const fn unscale(avg: u64, half_shift: u32) -> u64 {
    avg.wrapping_add((1 << half_shift) - 1) >> (half_shift + 1)
}

/// The state of the estimation of one set of counters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Estimator {
    last: Counters,
    avg: Rates,
}

impl Estimator {
    /// Takes the sums of the counters every [`PERIOD_SECS`].
    pub fn sample(&mut self, now: &Counters) {
        let (l, a) = (&self.last, &mut self.avg);
        a.cps = step(a.cps, l.conns, now.conns, COUNT_SHIFT);
        a.inpps = step(a.inpps, l.inpkts, now.inpkts, COUNT_SHIFT);
        a.outpps = step(a.outpps, l.outpkts, now.outpkts, COUNT_SHIFT);
        a.inbps = step(a.inbps, l.inbytes, now.inbytes, BYTES_SHIFT);
        a.outbps = step(a.outbps, l.outbytes, now.outbytes, BYTES_SHIFT);
        self.last = *now;
    }

    /// Begins anew from the sums of the counters as they are.
    pub fn zero(&mut self, now: &Counters) {
        *self = Estimator {
            last: *now,
            avg: Rates::default(),
        };
    }

    /// The rates.
    pub fn rates(&self) -> Rates {
        let a = &self.avg;
        Rates {
            cps: unscale(a.cps, COUNT_SHIFT),
            inpps: unscale(a.inpps, COUNT_SHIFT),
            outpps: unscale(a.outpps, COUNT_SHIFT),
            inbps: unscale(a.inbps, BYTES_SHIFT),
            outbps: unscale(a.outbps, BYTES_SHIFT),
        }
    }
}

/// Everything but the per-CPU counters: their sums when last sampled, the point they were zeroed at,
/// and the estimation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StatsState {
    sums: Counters,
    zero: Counters,
    est: Estimator,
}

impl StatsState {
    /// Takes the sums of the counters every [`PERIOD_SECS`].
    pub fn sample(&mut self, now: &Counters) {
        self.est.sample(now);
        self.sums = *now;
    }

    /// Zeroes counts and rates. As in stock, from the sums as last sampled: what was counted since
    /// will show up.
    pub fn zero(&mut self) {
        self.zero = self.sums;
        self.est.zero(&self.sums);
    }

    /// What is shown to user space, as old as the last sample.
    pub fn read(&self) -> Stats {
        Stats {
            counters: self.sums.minus(&self.zero),
            rates: self.est.rates(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(n: u64) -> Counters {
        Counters {
            conns: n,
            inpkts: n,
            outpkts: n,
            inbytes: n,
            outbytes: n,
        }
    }

    #[test]
    fn first_sample() {
        let mut e = Estimator::default();
        // 1000 in two seconds are 500 a second, of which a quarter shows.
        e.sample(&all(1000));
        let r = e.rates();
        assert_eq!(
            (r.cps, r.inpps, r.outpps, r.inbps, r.outbps),
            (125, 125, 125, 125, 125)
        );
    }

    #[test]
    fn rounding() {
        // Average after one sample of n: n * 512 / 4 = n * 128 scaled by 1024, so n / 8.
        for (n, shown) in [(0, 0), (3, 0), (4, 0), (5, 1), (8, 1), (12, 1), (13, 2)] {
            let mut e = Estimator::default();
            e.sample(&all(n));
            assert_eq!(e.rates().cps, shown, "{n}");
            assert_eq!(e.rates().inbps, shown, "{n}");
        }
    }

    #[test]
    fn decays_to_nothing() {
        let mut e = Estimator::default();
        let mut now = all(0);
        for _ in 0..100 {
            now = now.plus(&all(2_000_000));
            e.sample(&now);
        }
        assert_eq!(e.rates().cps, 1_000_000);
        for _ in 0..80 {
            e.sample(&now);
        }
        assert_eq!(e.rates(), Rates::default());
    }

    #[test]
    fn zeroing() {
        let mut s = StatsState::default();
        s.sample(&all(100));
        assert_eq!(s.read().counters, all(100));
        s.zero();
        assert_eq!(s.read(), Stats::default());
        s.sample(&all(130));
        assert_eq!(s.read().counters, all(30));
        assert_eq!(s.read().rates.cps, 4); // 30 / 8 = 3.75
    }

    proptest! {
        #[test]
        fn converges(per_sample in 0u64..1 << 40) {
            let mut e = Estimator::default();
            let mut now = Counters::ZERO;
            for _ in 0..200 {
                now = now.plus(&all(per_sample));
                e.sample(&now);
            }
            let r = e.rates();
            let rate = per_sample / 2;
            prop_assert!(r.cps.abs_diff(rate) <= 1);
            prop_assert!(r.inbps.abs_diff(rate) <= 1);
        }

        #[test]
        fn never_above_the_peak(samples in prop::collection::vec(0u64..1 << 40, 1..50)) {
            let mut e = Estimator::default();
            let mut now = Counters::ZERO;
            let mut peak = 0;
            for s in samples {
                now = now.plus(&all(s));
                e.sample(&now);
                peak = peak.max(s);
                prop_assert!(e.rates().outpps <= peak.div_ceil(2));
                prop_assert!(e.rates().outbps <= peak.div_ceil(2));
            }
        }

        #[test]
        fn wraps(a: [u64; 5], b: [u64; 5]) {
            let c = |v: [u64; 5]| Counters {
                conns: v[0], inpkts: v[1], outpkts: v[2], inbytes: v[3], outbytes: v[4],
            };
            prop_assert_eq!(c(a).plus(&c(b)).minus(&c(b)), c(a));
            let mut s = StatsState::default();
            s.sample(&c(a));
            s.zero();
            s.sample(&c(b));
            prop_assert_eq!(s.read().counters, c(b).minus(&c(a)));
        }
    }
}
