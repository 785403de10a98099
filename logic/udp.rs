// SPDX-License-Identifier: GPL-2.0
//! UDP as the director sees it: one state.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_proto_udp.c.

use crate::tcp::Direction;

/// A connection's state (`IP_VS_UDP_S_*`).
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum State {
    /// The only one.
    #[default]
    Normal = 0,
}

/// Number of states.
pub const STATES: usize = 1;

impl State {
    /// The state of a number.
    #[inline]
    pub const fn from_num(n: u16) -> Option<State> {
        match n {
            0 => Some(State::Normal),
            _ => None,
        }
    }

    /// The name shown in `/proc/net/ip_vs_conn`.
    #[inline]
    pub const fn name(self) -> &'static str {
        "UDP"
    }

    /// How long a silent connection is kept, in seconds, unless configured.
    #[inline]
    pub const fn default_timeout_secs(self) -> u32 {
        5 * 60
    }
}

/// Name of the numbered state; unknown numbers are `ERR!`.
#[inline]
pub const fn state_name(state: u16) -> &'static str {
    match State::from_num(state) {
        Some(s) => s.name(),
        None => "ERR!",
    }
}

/// Whether a datagram proves the connection good, so that the template it hangs on is worth keeping:
/// the server has answered.
#[inline]
pub const fn assures(dir: Direction) -> bool {
    matches!(dir, Direction::Output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_state() {
        assert_eq!(state_name(0), "UDP");
        assert_eq!(state_name(1), "ERR!");
        assert_eq!(State::default().default_timeout_secs(), 300);
        assert_eq!(State::from_num(0), Some(State::Normal));
        assert_eq!(State::from_num(1), None);
    }

    #[test]
    fn only_answers_assure() {
        assert!(assures(Direction::Output));
        assert!(!assures(Direction::Input));
        assert!(!assures(Direction::InputOnly));
    }
}
