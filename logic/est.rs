// SPDX-License-Identifier: GPL-2.0
//! Estimation of rates: the arithmetic, and who is looked at when.
//!
//! Every two seconds the average moves a quarter of the way to the rate since the last time.
//! Averages are kept scaled, connections and packets by 2^10, bytes by 2^5. The two seconds are
//! divided into ticks, and each tick into one part a thread; which of them something belongs to is
//! decided by its hash alone, so that it is looked at in equal intervals, however many threads and
//! table buckets there are.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_est.c

use crate::stats::{Counters, Rates};
use core::ops::Range;

/// Seconds between samples.
pub const PERIOD_SECS: u32 = 2;
/// Ticks of that time.
pub const TICKS: u32 = 50;
/// Ticks that a thread may lag behind before it gives those up which it missed.
pub const MAX_LAG: u32 = 8;

/// The scale of connections and packets is 2^10; a difference over two seconds has half of that.
const COUNT_SHIFT: u32 = 9;
/// The scale of bytes is 2^5; a difference over two seconds has half of that.
const BYTES_SHIFT: u32 = 4;

/// Moves a scaled average towards the rate of `diff` in two seconds.
#[inline]
const fn step(avg: u64, diff: u64, shift: u32) -> u64 {
    let rate = diff << shift;
    let quarter = (rate as i64).wrapping_sub(avg as i64) >> 2;
    avg.wrapping_add(quarter as u64)
}

/// The rate of a scaled average, with almost half added before the scale is taken off.
#[inline]
const fn unscale(avg: u64, half_shift: u32) -> u64 {
    avg.wrapping_add((1 << half_shift) - 1) >> (half_shift + 1)
}

/// The state of the estimation of one set of counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Estimator {
    /// The sums of the counters when they were last looked at.
    pub last: Counters,
    /// Averages, scaled.
    pub avg: Rates,
}

impl Estimator {
    /// Takes the sums of the counters, `periods` times [`PERIOD_SECS`] after the last time.
    #[inline]
    pub fn sample(&mut self, now: &Counters, periods: u32) {
        let mut diff = now.minus(&self.last);
        if periods > 1 {
            diff = diff.map(|n| n.checked_div(periods.into()).unwrap_or(n));
        }
        let a = &mut self.avg;
        a.cps = step(a.cps, diff.conns, COUNT_SHIFT);
        a.inpps = step(a.inpps, diff.inpkts, COUNT_SHIFT);
        a.outpps = step(a.outpps, diff.outpkts, COUNT_SHIFT);
        a.inbps = step(a.inbps, diff.inbytes, BYTES_SHIFT);
        a.outbps = step(a.outbps, diff.outbytes, BYTES_SHIFT);
        self.last = *now;
    }

    /// Begins anew from the sums of the counters as they are.
    pub fn zero(now: &Counters) -> Self {
        Estimator {
            last: *now,
            avg: Rates::default(),
        }
    }

    /// The rates.
    #[inline]
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

/// Periods between two ticks, at least 1: how many samples a set of counters should have had.
#[inline]
pub fn periods(last: u32, now: u32) -> u32 {
    (now.wrapping_sub(last).wrapping_add(TICKS / 2) / TICKS).max(1)
}

/// Hashes of what thread `part` of `parts` looks at in a tick. Empty if there is no such thread.
pub fn hashes(tick: u32, part: u32, parts: u32) -> Range<u64> {
    if part >= parts {
        return 0..0;
    }
    // More would not fit, and there are not as many.
    let (part, parts) = (u64::from(part), u64::from(parts.min(1 << 20)));
    let all = u64::from(TICKS).saturating_mul(parts).max(1);
    let at = |n: u64| (n << 32).div_ceil(all);
    let n = u64::from(tick % TICKS)
        .saturating_mul(parts)
        .saturating_add(part.min(parts));
    at(n)..at(n.saturating_add(1))
}

/// A thread may use this part of a CPU, as a divisor: with more there should be another thread.
const LOAD_DIVISOR: u64 = 8;
/// Most threads for a CPU.
pub const THREADS_PER_CPU: u32 = 4;

/// Threads there should be when the first of `now` ran for `busy` of the `period` it looked at.
pub fn threads(now: u32, busy: u64, period: u64, max: u32) -> u32 {
    let allowed = period / LOAD_DIVISOR;
    let all = busy.saturating_mul(now.into());
    let want = if busy > allowed {
        now.saturating_add(1)
    } else if now > 1 && all < allowed.saturating_mul(u64::from(now) - 1) / 2 {
        now - 1
    } else {
        now
    };
    want.min(max).max(1)
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
        e.sample(&all(1000), 1);
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
            e.sample(&all(n), 1);
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
            e.sample(&now, 1);
        }
        assert_eq!(e.rates().cps, 1_000_000);
        for _ in 0..80 {
            e.sample(&now, 1);
        }
        assert_eq!(e.rates(), Rates::default());
    }

    #[test]
    fn begins_anew() {
        let mut e = Estimator::default();
        e.sample(&all(100), 1);
        e = Estimator::zero(&all(100));
        assert_eq!(e.rates(), Rates::default());
        e.sample(&all(130), 1);
        assert_eq!(e.rates().cps, 4); // 30 / 8 = 3.75
    }

    #[test]
    fn how_many_periods() {
        assert_eq!(periods(7, 7 + TICKS), 1);
        assert_eq!(periods(7, 7), 1);
        assert_eq!(periods(7, 7 + 8), 1);
        assert_eq!(periods(7, 7 + 3 * TICKS), 3);
        assert_eq!(periods(u32::MAX, 2 * TICKS - 1), 2);
    }

    #[test]
    fn number_of_threads() {
        const PERIOD: u64 = 2_000_000_000;
        assert_eq!(threads(1, 0, PERIOD, 8), 1);
        assert_eq!(threads(1, PERIOD / 8, PERIOD, 8), 1);
        assert_eq!(threads(1, PERIOD / 7, PERIOD, 8), 2);
        assert_eq!(threads(1, PERIOD / 7, PERIOD, 1), 1);
        assert_eq!(threads(4, 0, PERIOD, 8), 3);
        assert_eq!(threads(4, 0, PERIOD, 2), 2);
        assert_eq!(threads(0, 0, 0, 0), 1);
    }

    proptest! {
        #[test]
        fn converges(per_sample in 0u64..1 << 40) {
            let mut e = Estimator::default();
            let mut now = Counters::ZERO;
            for _ in 0..200 {
                now = now.plus(&all(per_sample));
                e.sample(&now, 1);
            }
            let r = e.rates();
            let rate = per_sample / 2;
            prop_assert!(r.cps.abs_diff(rate) <= 1);
            prop_assert!(r.inbps.abs_diff(rate) <= 1);
        }

        #[test]
        fn missed_samples_leave_the_rate(per_sample in 0u64..1 << 40, missed in 1u32..1000) {
            let mut e = Estimator::default();
            let mut now = Counters::ZERO;
            for _ in 0..200 {
                now = now.plus(&all(per_sample));
                e.sample(&now, 1);
            }
            now = now.plus(&all(per_sample * u64::from(missed)));
            e.sample(&now, missed);
            prop_assert!(e.rates().cps.abs_diff(per_sample / 2) <= 1);
        }

        #[test]
        fn never_above_the_peak(samples in prop::collection::vec(0u64..1 << 40, 1..50)) {
            let mut e = Estimator::default();
            let mut now = Counters::ZERO;
            let mut peak = 0;
            for s in samples {
                now = now.plus(&all(s));
                e.sample(&now, 1);
                peak = peak.max(s);
                prop_assert!(e.rates().outpps <= peak.div_ceil(2));
                prop_assert!(e.rates().outbps <= peak.div_ceil(2));
            }
        }

        #[test]
        fn any_input(last: [u64; 5], now: [u64; 5], periods: u32) {
            let c = |v: [u64; 5]| Counters {
                conns: v[0], inpkts: v[1], outpkts: v[2], inbytes: v[3], outbytes: v[4],
            };
            let mut e = Estimator::zero(&c(last));
            e.sample(&c(now), periods);
            prop_assert_eq!(e.last, c(now));
        }

        #[test]
        fn hashes_are_all_there_are(parts in 1u32..500, first: u32) {
            let first = first / TICKS * TICKS;
            let mut end = 0;
            for tick in first..=first + (TICKS - 1) {
                let whole = hashes(tick, 0, 1);
                for part in 0..parts {
                    let p = hashes(tick, part, parts);
                    prop_assert_eq!(p.start, end);
                    prop_assert!(whole.start <= p.start && p.end <= whole.end);
                    end = p.end;
                }
            }
            prop_assert_eq!(end, 1 << 32);
        }

        #[test]
        fn no_hash_without_thread(tick: u32, parts: u32, more: u32) {
            prop_assert!(hashes(tick, parts.saturating_add(more), parts).is_empty());
        }

        #[test]
        fn threads_do_not_go_up_and_down(busy in 0u64..1 << 34, max in 1u32..64) {
            // The same work, spread over the threads there are, ends with one number.
            let mut n = 1;
            for _ in 0..200 {
                n = threads(n, busy / u64::from(n), 2_000_000_000, max);
            }
            prop_assert_eq!(threads(n, busy / u64::from(n), 2_000_000_000, max), n);
        }
    }
}
