// SPDX-License-Identifier: GPL-2.0
//! How long silent connections are kept, by protocol and state.
//!
//! Seconds outside, jiffies inside; `hz` is jiffies a second. C counterparts: the timeout tables of
//! ip_vs_proto_{tcp,udp}.c and `ip_vs_set_timeout()`, net/netfilter/ipvs/ip_vs_ctl.c.

use crate::ctl::CtlError;
use crate::tcp::State as Tcp;
use crate::udp;

/// A timeout that can be configured by itself, and the index of its value in a table.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TimeoutId {
    /// TCP, [`Tcp::Established`].
    Established = 0,
    /// TCP, [`Tcp::SynSent`].
    SynSent = 1,
    /// TCP, [`Tcp::SynRecv`].
    SynRecv = 2,
    /// TCP, [`Tcp::FinWait`].
    FinWait = 3,
    /// TCP, [`Tcp::TimeWait`].
    TimeWait = 4,
    /// TCP, [`Tcp::Close`].
    Close = 5,
    /// TCP, [`Tcp::CloseWait`].
    CloseWait = 6,
    /// TCP, [`Tcp::LastAck`].
    LastAck = 7,
    /// TCP, [`Tcp::Listen`].
    Listen = 8,
    /// TCP, [`Tcp::SynAck`].
    SynAck = 9,
    /// UDP.
    Udp = 10,
    /// ICMP.
    Icmp = 11,
}

/// Number of timeouts that can be configured.
pub const COUNT: usize = 12;

/// Default of [`TimeoutId::Icmp`] in seconds: in stock, what every connection begins with.
pub const ICMP_SECS: u32 = 3;

impl TimeoutId {
    /// All of them, by index.
    pub const ALL: [TimeoutId; COUNT] = [
        TimeoutId::Established,
        TimeoutId::SynSent,
        TimeoutId::SynRecv,
        TimeoutId::FinWait,
        TimeoutId::TimeWait,
        TimeoutId::Close,
        TimeoutId::CloseWait,
        TimeoutId::LastAck,
        TimeoutId::Listen,
        TimeoutId::SynAck,
        TimeoutId::Udp,
        TimeoutId::Icmp,
    ];

    /// Index of the value in a table of [`COUNT`].
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The sysctl's name.
    pub const fn name(self) -> &'static str {
        match self {
            TimeoutId::Established => "timeout_established",
            TimeoutId::SynSent => "timeout_synsent",
            TimeoutId::SynRecv => "timeout_synrecv",
            TimeoutId::FinWait => "timeout_finwait",
            TimeoutId::TimeWait => "timeout_timewait",
            TimeoutId::Close => "timeout_close",
            TimeoutId::CloseWait => "timeout_closewait",
            TimeoutId::LastAck => "timeout_lastack",
            TimeoutId::Listen => "timeout_listen",
            TimeoutId::SynAck => "timeout_synack",
            TimeoutId::Udp => "timeout_udp",
            TimeoutId::Icmp => "timeout_icmp",
        }
    }

    /// The timeout of a TCP state; `None` for [`Tcp::None`], whose 2 seconds are fixed.
    #[inline]
    pub const fn of_tcp(state: Tcp) -> Option<TimeoutId> {
        Some(match state {
            Tcp::None => return None,
            Tcp::Established => TimeoutId::Established,
            Tcp::SynSent => TimeoutId::SynSent,
            Tcp::SynRecv => TimeoutId::SynRecv,
            Tcp::FinWait => TimeoutId::FinWait,
            Tcp::TimeWait => TimeoutId::TimeWait,
            Tcp::Close => TimeoutId::Close,
            Tcp::CloseWait => TimeoutId::CloseWait,
            Tcp::LastAck => TimeoutId::LastAck,
            Tcp::Listen => TimeoutId::Listen,
            Tcp::SynAck => TimeoutId::SynAck,
        })
    }

    /// Default in seconds.
    pub const fn default_secs(self) -> u32 {
        match self {
            TimeoutId::Established => Tcp::Established.default_timeout_secs(),
            TimeoutId::SynSent => Tcp::SynSent.default_timeout_secs(),
            TimeoutId::SynRecv => Tcp::SynRecv.default_timeout_secs(),
            TimeoutId::FinWait => Tcp::FinWait.default_timeout_secs(),
            TimeoutId::TimeWait => Tcp::TimeWait.default_timeout_secs(),
            TimeoutId::Close => Tcp::Close.default_timeout_secs(),
            TimeoutId::CloseWait => Tcp::CloseWait.default_timeout_secs(),
            TimeoutId::LastAck => Tcp::LastAck.default_timeout_secs(),
            TimeoutId::Listen => Tcp::Listen.default_timeout_secs(),
            TimeoutId::SynAck => Tcp::SynAck.default_timeout_secs(),
            TimeoutId::Udp => udp::State::Normal.default_timeout_secs(),
            TimeoutId::Icmp => ICMP_SECS,
        }
    }
}

/// Greatest timeout in seconds: its jiffies must fit in an `int`.
#[inline]
pub const fn max_secs(hz: u32) -> i32 {
    let hz = if hz == 0 { 1 } else { hz };
    (i32::MAX as u32 / hz) as i32
}

/// Jiffies of a number of seconds; `EINVAL` if negative or above [`max_secs`].
#[inline]
pub const fn secs_to_jiffies(secs: i32, hz: u32) -> Result<u32, CtlError> {
    if secs < 0 || secs > max_secs(hz) {
        return Err(CtlError::Inval);
    }
    Ok((secs as u32).wrapping_mul(hz))
}

/// Whole seconds of a number of jiffies.
#[inline]
pub const fn jiffies_to_secs(jiffies: u32, hz: u32) -> u32 {
    match jiffies.checked_div(hz) {
        Some(s) => s,
        None => 0,
    }
}

/// What `ipvsadm --set` sets and `ipvsadm -l --timeout` shows (`struct ip_vs_timeout_user`), in
/// seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TimeoutUser {
    /// [`TimeoutId::Established`].
    pub tcp: i32,
    /// [`TimeoutId::FinWait`].
    pub tcp_fin: i32,
    /// [`TimeoutId::Udp`].
    pub udp: i32,
}

impl TimeoutUser {
    /// Checks all three values and gives those to be set in jiffies; `None` for 0, which leaves a
    /// timeout as it is. `EINVAL` if one is negative or above [`max_secs`]; nothing is to be set then.
    pub fn validate(&self, hz: u32) -> Result<[(TimeoutId, Option<u32>); 3], CtlError> {
        let jiffies = |secs| secs_to_jiffies(secs, hz).map(|j| Some(j).filter(|j| *j != 0));
        Ok([
            (TimeoutId::Established, jiffies(self.tcp)?),
            (TimeoutId::FinWait, jiffies(self.tcp_fin)?),
            (TimeoutId::Udp, jiffies(self.udp)?),
        ])
    }
}

/// The timeouts of a network namespace, in jiffies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timeouts {
    values: [u32; COUNT],
    none: u32,
}

impl Timeouts {
    /// The defaults.
    pub const fn new(hz: u32) -> Timeouts {
        let mut values = [0; COUNT];
        let mut i = 0;
        while i < COUNT {
            values[i] = TimeoutId::ALL[i].default_secs().wrapping_mul(hz);
            i += 1;
        }
        Timeouts {
            values,
            none: Tcp::None.default_timeout_secs().wrapping_mul(hz),
        }
    }

    /// A timeout in jiffies.
    #[inline]
    pub fn jiffies(&self, id: TimeoutId) -> u32 {
        self.values.get(id.index()).copied().unwrap_or(0)
    }

    /// The timeout of a TCP state in jiffies.
    #[inline]
    pub fn tcp(&self, state: Tcp) -> u32 {
        match TimeoutId::of_tcp(state) {
            Some(id) => self.jiffies(id),
            None => self.none,
        }
    }

    /// The timeout of UDP in jiffies.
    #[inline]
    pub fn udp(&self) -> u32 {
        self.jiffies(TimeoutId::Udp)
    }

    /// A timeout in seconds.
    pub fn secs(&self, id: TimeoutId, hz: u32) -> u32 {
        jiffies_to_secs(self.jiffies(id), hz)
    }

    /// Sets one timeout. `EINVAL` below 1 second or above [`max_secs`].
    pub fn set_secs(&mut self, id: TimeoutId, secs: i32, hz: u32) -> Result<(), CtlError> {
        if secs < 1 {
            return Err(CtlError::Inval);
        }
        self.set(id, secs_to_jiffies(secs, hz)?);
        Ok(())
    }

    fn set(&mut self, id: TimeoutId, jiffies: u32) {
        if let Some(v) = self.values.get_mut(id.index()) {
            *v = jiffies;
        }
    }

    /// The three values of `ipvsadm`.
    pub fn user(&self, hz: u32) -> TimeoutUser {
        let secs = |id| i32::try_from(self.secs(id, hz)).unwrap_or(i32::MAX);
        TimeoutUser {
            tcp: secs(TimeoutId::Established),
            tcp_fin: secs(TimeoutId::FinWait),
            udp: secs(TimeoutId::Udp),
        }
    }

    /// Sets the three values of `ipvsadm`, all or none, see [`TimeoutUser::validate`].
    pub fn set_user(&mut self, user: &TimeoutUser, hz: u32) -> Result<(), CtlError> {
        for (id, jiffies) in user.validate(hz)? {
            if let Some(j) = jiffies {
                self.set(id, j);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HZ: u32 = 250;

    #[test]
    fn defaults() {
        let t = Timeouts::new(HZ);
        let secs: Vec<_> = TimeoutId::ALL
            .iter()
            .map(|id| (id.name(), t.secs(*id, HZ)))
            .collect();
        assert_eq!(
            secs,
            [
                ("timeout_established", 900),
                ("timeout_synsent", 120),
                ("timeout_synrecv", 60),
                ("timeout_finwait", 120),
                ("timeout_timewait", 120),
                ("timeout_close", 10),
                ("timeout_closewait", 60),
                ("timeout_lastack", 30),
                ("timeout_listen", 120),
                ("timeout_synack", 120),
                ("timeout_udp", 300),
                ("timeout_icmp", 3),
            ]
        );
        assert_eq!(t.tcp(Tcp::None), 2 * HZ);
        assert_eq!(t.tcp(Tcp::Established), 900 * HZ);
        assert_eq!(t.udp(), 300 * HZ);
        assert_eq!(
            t.user(HZ),
            TimeoutUser {
                tcp: 900,
                tcp_fin: 120,
                udp: 300
            }
        );
    }

    #[test]
    fn each_has_its_index_and_state() {
        for (i, id) in TimeoutId::ALL.into_iter().enumerate() {
            assert_eq!(id.index(), i);
        }
        for s in Tcp::ALL {
            let t = Timeouts::new(HZ);
            assert_eq!(t.tcp(s), s.default_timeout_secs() * HZ);
        }
    }

    #[test]
    fn zero_leaves_alone() {
        let mut t = Timeouts::new(HZ);
        t.set_user(
            &TimeoutUser {
                tcp: 0,
                tcp_fin: 7,
                udp: 0,
            },
            HZ,
        )
        .unwrap();
        assert_eq!(
            t.user(HZ),
            TimeoutUser {
                tcp: 900,
                tcp_fin: 7,
                udp: 300
            }
        );
        assert_eq!(t.tcp(Tcp::FinWait), 7 * HZ);
        assert_eq!(t.tcp(Tcp::TimeWait), 120 * HZ);
    }

    #[test]
    fn limits() {
        let max = i32::MAX / 250;
        assert_eq!(max_secs(HZ), max);
        let mut t = Timeouts::new(HZ);
        for bad in [-1, i32::MIN, max + 1, i32::MAX] {
            let before = t.clone();
            for u in [
                TimeoutUser {
                    tcp: bad,
                    tcp_fin: 1,
                    udp: 1,
                },
                TimeoutUser {
                    tcp: 1,
                    tcp_fin: bad,
                    udp: 1,
                },
                TimeoutUser {
                    tcp: 1,
                    tcp_fin: 1,
                    udp: bad,
                },
            ] {
                assert_eq!(t.set_user(&u, HZ), Err(CtlError::Inval));
                assert_eq!(t, before);
            }
            assert_eq!(t.set_secs(TimeoutId::Icmp, bad, HZ), Err(CtlError::Inval));
        }
        assert_eq!(t.set_secs(TimeoutId::Icmp, 0, HZ), Err(CtlError::Inval));
        t.set_secs(TimeoutId::Icmp, max, HZ).unwrap();
        assert_eq!(t.secs(TimeoutId::Icmp, HZ), max as u32);
        t.set_user(
            &TimeoutUser {
                tcp: max,
                tcp_fin: max,
                udp: max,
            },
            HZ,
        )
        .unwrap();
        assert_eq!(
            t.user(HZ),
            TimeoutUser {
                tcp: max,
                tcp_fin: max,
                udp: max
            }
        );
    }

    proptest! {
        #[test]
        fn what_is_set_is_read_back(secs: i32, hz in 1u32..=10_000, i in 0..COUNT) {
            let id = TimeoutId::ALL[i];
            let mut t = Timeouts::new(hz);
            let before = t.clone();
            match t.set_secs(id, secs, hz) {
                Ok(()) => {
                    prop_assert_eq!(t.secs(id, hz), secs as u32);
                    prop_assert!(t.jiffies(id) <= i32::MAX as u32);
                }
                Err(_) => {
                    prop_assert!(secs < 1 || secs > i32::MAX / hz as i32);
                    prop_assert_eq!(t, before);
                }
            }
        }

        #[test]
        fn nothing_panics(secs: i32, jiffies: u32, hz: u32) {
            let _ = secs_to_jiffies(secs, hz);
            let _ = jiffies_to_secs(jiffies, hz);
            let _ = Timeouts::new(hz).user(hz);
        }
    }
}
