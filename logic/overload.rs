// SPDX-License-Identifier: GPL-2.0
//! When a destination has too many connections.
//!
//! The flag is set when the number of connections reaches the upper threshold and cleared when it
//! falls below the lower one. C counterpart: `__ip_vs_dest_update_overload()`,
//! net/netfilter/ipvs/ip_vs_ctl.c.

/// Why the flag is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// A connection brought the count to the upper threshold. Some may have gone since: as long as
    /// the lower threshold is held, the flag is set.
    Added,
    /// The thresholds were configured.
    Configured,
    /// A connection went when the count was at the lower threshold. Some may have come since: unless
    /// the upper threshold is reached, the flag is cleared.
    Removed,
}

/// Thresholds of a destination, in connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Thresholds {
    /// The upper one; 0 for no limit.
    pub upper: u32,
    /// The lower one in effect, see [`lower`].
    pub lower: u32,
}

/// The lower threshold in effect: `configured`, or three quarters of `upper` if that is 0.
#[inline]
pub const fn lower(upper: u32, configured: u32) -> u32 {
    if configured != 0 {
        configured
    } else {
        upper.wrapping_sub(upper >> 2)
    }
}

impl Thresholds {
    /// From what was configured.
    #[inline]
    pub const fn new(upper: u32, configured_lower: u32) -> Thresholds {
        Thresholds {
            upper,
            lower: lower(upper, configured_lower),
        }
    }

    /// Whether adding the connection that made them `total` calls for [`Mode::Added`].
    #[inline]
    pub const fn reached(&self, total: i32) -> bool {
        total as u32 == self.upper
    }

    /// Whether removing a connection when there were `total` calls for [`Mode::Removed`].
    #[inline]
    pub const fn left(&self, total: i32) -> bool {
        total as u32 == self.lower
    }

    /// The new flag. `total` is the number of connections and `overloaded` the flag as it is.
    #[inline]
    pub const fn update(&self, total: i32, mode: Mode, overloaded: bool) -> bool {
        if self.upper == 0 {
            return false;
        }
        let total = total as u32;
        let (set_from, keep_from) = match mode {
            Mode::Added => (self.lower, self.lower),
            Mode::Configured => (self.upper, self.lower),
            Mode::Removed => (self.upper, self.upper),
        };
        total >= set_from || total >= keep_from && overloaded
    }
}

/// The new flag from all that decides it, see [`Thresholds::update`].
#[inline]
pub const fn update(
    upper: u32,
    configured_lower: u32,
    total: i32,
    mode: Mode,
    overloaded: bool,
) -> bool {
    Thresholds::new(upper, configured_lower).update(total, mode, overloaded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lower_defaults_to_three_quarters() {
        assert_eq!(lower(100, 0), 75);
        assert_eq!(lower(100, 30), 30);
        assert_eq!(lower(1, 0), 1);
        assert_eq!(lower(3, 0), 3);
        assert_eq!(lower(5, 0), 4);
        assert_eq!(lower(0, 0), 0);
        assert_eq!(lower(u32::MAX, 0), 0xc000_0000);
    }

    #[test]
    fn no_limit() {
        for total in [0, 1, i32::MAX, -1] {
            for mode in [Mode::Added, Mode::Configured, Mode::Removed] {
                assert!(!update(0, 0, total, mode, true));
                assert!(!update(0, 5, total, mode, true));
            }
        }
    }

    #[test]
    fn hysteresis() {
        let t = Thresholds::new(10, 4);
        let mut flag = false;
        let mut total = 0;
        let mut history = Vec::new();
        for step in [1; 12].into_iter().chain([-1; 12]) {
            let before = total;
            total += step;
            if step > 0 && t.reached(total) {
                flag = t.update(total, Mode::Added, flag);
            } else if step < 0 && t.left(before) {
                flag = t.update(total, Mode::Removed, flag);
            }
            history.push((total, flag));
        }
        let up: Vec<_> = history[..12].iter().map(|h| h.1).collect();
        assert_eq!(up, [[false; 9].as_slice(), &[true; 3]].concat());
        for (total, flag) in &history[12..] {
            assert_eq!(*flag, *total >= 4, "{total}");
        }
    }

    #[test]
    fn late_updates() {
        let t = Thresholds::new(10, 4);
        // Ten came, three went before the update ran.
        assert!(t.update(7, Mode::Added, false));
        assert!(!t.update(3, Mode::Added, true));
        // Went below four, then some came.
        assert!(!t.update(7, Mode::Removed, true));
        assert!(t.update(10, Mode::Removed, false));
        // A new configuration between the thresholds changes nothing.
        assert!(t.update(7, Mode::Configured, true));
        assert!(!t.update(7, Mode::Configured, false));
    }

    proptest! {
        #[test]
        fn bounds_decide(upper in 1u32..1000, l: u32, total in 0i32..2000, flag: bool, m in 0..3) {
            let l = l % (upper + 1);
            let mode = [Mode::Added, Mode::Configured, Mode::Removed][m as usize];
            let t = Thresholds::new(upper, l);
            let new = t.update(total, mode, flag);
            if total as u32 >= upper {
                prop_assert!(new);
            }
            if (total as u32) < t.lower {
                prop_assert!(!new);
            }
            // Looking again changes nothing.
            prop_assert_eq!(t.update(total, mode, new), new);
        }
    }
}
