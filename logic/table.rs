// SPDX-License-Identifier: GPL-2.0
//! When a hash table grows or shrinks, and to what size.
//!
//! The load factor is a shift: a table of `size` buckets is meant for `size * 2^lfactor` entries.
//! C counterparts: `ip_vs_rht_desired_size()` and `ip_vs_rht_set_thresholds()`,
//! net/netfilter/ipvs/ip_vs_core.c.

/// Limits of a table's size, as powers of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    min_bits: u32,
    max_bits: u32,
}

/// The connection table's least size, as a power of two.
pub const CONN_TAB_MIN_BITS: u32 = 8;
/// The connection table's greatest size, as a power of two.
pub const CONN_TAB_MAX_BITS: u32 = 27;
/// The service table's least size, as a power of two.
pub const SVC_TAB_MIN_BITS: u32 = 4;
/// The service table's greatest size, as a power of two.
pub const SVC_TAB_MAX_BITS: u32 = 20;
/// Greatest number of connections that may be configured as a limit (`conn_max`).
pub const CONN_MAX: i32 = 1 << 30;
/// The load factors that may be configured.
pub const LFACTOR_RANGE: core::ops::RangeInclusive<i32> = -8..=8;

impl Limits {
    /// Limits of a service table.
    pub const SERVICES: Limits = Limits::new(SVC_TAB_MIN_BITS, SVC_TAB_MAX_BITS);

    /// Limits of a connection table whose greatest size was configured as `conn_tab_bits`; a value
    /// outside 8 to `max_bits` (see [`conn_tab_max_bits`]) is brought into that range.
    #[inline]
    pub fn connections(conn_tab_bits: i32, max_bits: u32) -> Limits {
        let max_bits = max_bits.clamp(CONN_TAB_MIN_BITS, CONN_TAB_MAX_BITS);
        let bits = u32::try_from(conn_tab_bits).unwrap_or(0);
        Limits::new(CONN_TAB_MIN_BITS, bits.clamp(CONN_TAB_MIN_BITS, max_bits))
    }

    /// The greatest size as a power of two.
    #[inline]
    pub const fn max_bits(self) -> u32 {
        self.max_bits
    }

    /// Any limits; `max_bits` is at most 30 and `min_bits` at most `max_bits`.
    #[inline]
    pub const fn new(min_bits: u32, max_bits: u32) -> Limits {
        let max_bits = if max_bits > 30 { 30 } else { max_bits };
        let min_bits = if min_bits > max_bits {
            max_bits
        } else {
            min_bits
        };
        Limits { min_bits, max_bits }
    }

    /// Least size in buckets.
    #[inline]
    pub const fn min_size(self) -> u32 {
        1u32.wrapping_shl(self.min_bits)
    }

    /// Greatest size in buckets.
    #[inline]
    pub const fn max_size(self) -> u32 {
        1u32.wrapping_shl(self.max_bits)
    }
}

/// The greatest connection table, as a power of two, that a machine of `total_pages` pages of
/// `1 << page_shift` bytes gets: as many buckets as connections of `conn_size` bytes fill its memory.
pub fn conn_tab_max_bits(total_pages: u64, page_shift: u32, conn_size: u64) -> u32 {
    let ceil_log2 = |n: u64| 64u32.saturating_sub(n.saturating_sub(1).leading_zeros());
    ceil_log2(total_pages)
        .saturating_add(page_shift)
        .saturating_sub(ceil_log2(conn_size))
        .clamp(CONN_TAB_MIN_BITS, CONN_TAB_MAX_BITS)
}

/// Load factor of a new connection table. A namespace of its own expects fewer connections. The
/// masquerading of each takes two nodes.
#[inline]
pub const fn default_conn_lfactor(init_net: bool) -> i32 {
    if init_net {
        -4
    } else {
        -2
    }
}

/// Load factor of a new service table.
#[inline]
pub const fn default_svc_lfactor(init_net: bool) -> i32 {
    if init_net {
        -3
    } else {
        -2
    }
}

/// Size and load factor of a table in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Current {
    /// Buckets, a power of two.
    pub size: u32,
    /// The load factor it was made with.
    pub lfactor: i32,
}

/// The size in buckets that a table with `n` entries should have under `lfactor`.
///
/// Without a table: the least size. With an unchanged load factor a table keeps its size until it is
/// too small, or more than 16 times too big; then it shrinks to twice what is needed.
pub fn desired_size(current: Option<Current>, n: i32, lfactor: i32, limits: Limits) -> u32 {
    let Some(current) = current else {
        return limits.min_size();
    };
    let (min, max) = (limits.min_size(), limits.max_size());
    let n = u32::try_from(n).unwrap_or(0).max(1);
    let n = n.checked_next_power_of_two().unwrap_or(max);
    let n = if lfactor < 0 {
        let factor = lfactor.unsigned_abs().min(limits.max_bits);
        n.min(max.wrapping_shr(factor)).wrapping_shl(factor)
    } else {
        n.checked_shr(lfactor.unsigned_abs()).unwrap_or(0).min(max)
    };
    if lfactor != current.lfactor {
        n.max(min).min(max)
    } else if n > current.size {
        n
    } else if n > current.size >> 4 {
        current.size
    } else {
        n.saturating_mul(2).max(min).min(max)
    }
}

/// Numbers of entries at which a table is to be resized.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    /// More entries than this: grow. `i32::MAX` for a table of the greatest size.
    pub upper: i32,
    /// No more entries than this: shrink. 0 for a table of the least size.
    pub lower: i32,
}

impl Thresholds {
    /// The thresholds of a table of `size` buckets.
    pub fn new(size: u32, lfactor: i32, limits: Limits) -> Thresholds {
        let top = i32::MAX as u32;
        let upper = if size >= limits.max_size() {
            top
        } else if lfactor <= 0 {
            size.wrapping_shr(lfactor.unsigned_abs().min(limits.max_bits))
        } else {
            let shift = lfactor.unsigned_abs().min(30);
            size.min(1 << (30 - shift)) << shift
        };
        let lower = if size >= limits.max_size() {
            limits.max_size() >> 4
        } else if size > limits.min_size() {
            upper >> 4
        } else {
            0
        };
        // Both are at most 2^30, or `top`.
        Thresholds {
            upper: upper.min(top) as i32,
            lower: lower as i32,
        }
    }

    /// Whether a table with `n` entries is to grow.
    #[inline]
    pub const fn should_grow(&self, n: i32) -> bool {
        n > self.upper
    }

    /// Whether a table with `n` entries is to shrink.
    #[inline]
    pub const fn should_shrink(&self, n: i32) -> bool {
        self.lower > 0 && n <= self.lower
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONNS: Limits = Limits::new(8, 20);

    fn current(bits: u32, lfactor: i32) -> Option<Current> {
        let size = 1 << bits;
        Some(Current { size, lfactor })
    }

    #[test]
    fn first_table_is_small() {
        assert_eq!(desired_size(None, 1_000_000, -4, CONNS), 256);
        assert_eq!(desired_size(None, 0, 0, Limits::SERVICES), 16);
    }

    #[test]
    fn grows_with_the_load() {
        // Load factor 1/16: 17 entries want 32 * 16 buckets.
        assert_eq!(desired_size(current(8, -4), 16, -4, CONNS), 256);
        assert_eq!(desired_size(current(8, -4), 17, -4, CONNS), 512);
        assert_eq!(desired_size(current(8, -4), 60_000, -4, CONNS), 1 << 20);
        assert_eq!(desired_size(current(8, -4), i32::MAX, -4, CONNS), 1 << 20);
        // Load factor 4: a quarter of the entries.
        assert_eq!(desired_size(current(8, 2), 4096, 2, CONNS), 1024);
    }

    #[test]
    fn shrinks_late_and_with_room() {
        // 512 buckets are wanted: a table of 4096 is kept, one of 8192 shrinks to 1024.
        assert_eq!(desired_size(current(12, -4), 32, -4, CONNS), 4096);
        assert_eq!(desired_size(current(13, -4), 32, -4, CONNS), 1024);
        assert_eq!(desired_size(current(20, -4), 0, -4, CONNS), 256);
        assert_eq!(desired_size(current(20, -4), -7, -4, CONNS), 256);
    }

    #[test]
    fn a_new_load_factor_takes_effect_at_once() {
        assert_eq!(desired_size(current(12, -4), 1024, -3, CONNS), 8192);
        assert_eq!(desired_size(current(12, -4), 1024, 0, CONNS), 1024);
        assert_eq!(desired_size(current(12, -4), 1024, 8, CONNS), 256);
    }

    #[test]
    fn thresholds() {
        let t = |bits: u32, lfactor| {
            let t = Thresholds::new(1 << bits, lfactor, CONNS);
            (t.upper, t.lower)
        };
        assert_eq!(t(8, -4), (16, 0));
        assert_eq!(t(12, -4), (256, 16));
        assert_eq!(t(12, 0), (4096, 256));
        assert_eq!(t(12, 3), (32768, 2048));
        assert_eq!(t(9, -8), (2, 0));
        // The greatest table never grows and shrinks when all but empty.
        assert_eq!(t(20, -4), (i32::MAX, 1 << 16));
        assert_eq!(t(20, 8), (i32::MAX, 1 << 16));
        let t = Thresholds::new(4096, -4, CONNS);
        assert!(!t.should_grow(256) && t.should_grow(257));
        assert!(t.should_shrink(16) && !t.should_shrink(17));
        assert!(!Thresholds::new(256, -4, CONNS).should_shrink(0));
    }

    #[test]
    fn limits_follow_the_parameter() {
        for (bits, size) in [
            (0, 256),
            (-1, 256),
            (7, 256),
            (8, 256),
            (12, 4096),
            (27, 1 << 27),
        ] {
            assert_eq!(Limits::connections(bits, 27).max_size(), size);
        }
        assert_eq!(Limits::connections(28, 27).max_size(), 1 << 27);
        assert_eq!(Limits::connections(i32::MAX, 99).max_bits(), 27);
        assert_eq!(Limits::connections(20, 14).max_size(), 1 << 14);
        assert_eq!(Limits::connections(20, 0).max_size(), 256);
        assert_eq!(Limits::new(9, 3), Limits::new(3, 3));
    }

    #[test]
    fn limits_follow_the_memory() {
        // 64 GB and stock's connections of 296 bytes: as many as 2^27.
        assert_eq!(conn_tab_max_bits(1 << 24, 12, 296), 27);
        // 1 GB.
        assert_eq!(conn_tab_max_bits(1 << 18, 12, 296), 21);
        assert_eq!(conn_tab_max_bits((1 << 18) - 1, 12, 256), 22);
        assert_eq!(conn_tab_max_bits(1 << 40, 12, 296), 27);
        assert_eq!(conn_tab_max_bits(0, 12, 296), 8);
    }

    #[test]
    fn default_load_factors() {
        assert_eq!(
            [default_conn_lfactor(true), default_conn_lfactor(false)],
            [-4, -2]
        );
        assert_eq!(
            [default_svc_lfactor(true), default_svc_lfactor(false)],
            [-3, -2]
        );
        assert!(LFACTOR_RANGE.contains(&default_conn_lfactor(true)));
    }

    proptest! {
        #[test]
        fn any_input_gives_a_size_within_limits(
            size: u32, old: i32, n: i32, lfactor: i32, min: u32, max: u32,
        ) {
            let limits = Limits::new(min, max);
            let _ = Thresholds::new(size, lfactor, limits);
            let current = Current { size, lfactor: old };
            let new = desired_size(Some(current), n, lfactor, limits);
            prop_assert!(new == size || new <= limits.max_size());
        }

        #[test]
        fn steady_once_resized(
            n in 0..1 << 30, lfactor in -8..=8i32, bits in 4u32..=27, max in 8u32..=27,
        ) {
            let limits = Limits::new(4, max);
            let mut size = 1 << bits.min(max);
            let mut resizes = 0;
            loop {
                let new = desired_size(Some(Current { size, lfactor }), n, lfactor, limits);
                prop_assert!(new.is_power_of_two());
                prop_assert!(new >= limits.min_size() && new <= limits.max_size());
                if new == size {
                    break;
                }
                size = new;
                resizes += 1;
            }
            prop_assert!(resizes <= 1);
            // A table of the right size is above none of its thresholds.
            let t = Thresholds::new(size, lfactor, limits);
            prop_assert!(!t.should_grow(n), "{n} entries, size {size}, {t:?}");
        }

        #[test]
        fn thresholds_are_apart(bits in 0u32..=30, lfactor in -8..=8i32, max in 0u32..=30) {
            let t = Thresholds::new(1 << bits, lfactor, Limits::new(4, max));
            prop_assert!(t.upper >= 0 && t.lower >= 0);
            prop_assert!(t.lower <= t.upper / 16 + 1);
        }
    }
}
