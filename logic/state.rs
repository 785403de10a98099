// SPDX-License-Identifier: GPL-2.0
//! Names of states across protocols, and the states of persistence templates.
//!
//! C counterpart: `ip_vs_state_name()`, net/netfilter/ipvs/ip_vs_proto.c.

use crate::addr::Proto;
use crate::{tcp, udp};

/// Template state bit: nothing (`IP_VS_CTPL_S_NONE`).
pub const CTPL_NONE: u16 = 0x0000;
/// Template state bit: a connection under it was established (`IP_VS_CTPL_S_ASSURED`).
pub const CTPL_ASSURED: u16 = 0x0001;
/// The first number that is no template state.
pub const CTPL_LAST: u16 = 0x0002;

/// Name of a template's state.
#[inline]
pub const fn template_state_name(state: u16) -> &'static str {
    match state {
        CTPL_NONE => "NONE",
        CTPL_ASSURED => "ASSURED",
        _ => "ERR!",
    }
}

/// Name of a connection's state, as in `/proc/net/ip_vs_conn`. Of SCTP's states the SCTP code knows
/// the names; here, as for every protocol without states, it is `ERR!`, and `NONE` for protocol 0.
#[inline]
pub const fn state_name(proto: Proto, template: bool, state: u16) -> &'static str {
    if template {
        return template_state_name(state);
    }
    match proto {
        Proto::TCP => tcp::state_name(state),
        Proto::UDP => udp::state_name(state),
        Proto::IP => "NONE",
        _ => "ERR!",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(state_name(Proto::TCP, false, 1), "ESTABLISHED");
        assert_eq!(state_name(Proto::TCP, false, 11), "ERR!");
        assert_eq!(state_name(Proto::TCP, true, 1), "ASSURED");
        assert_eq!(state_name(Proto::UDP, false, 0), "UDP");
        assert_eq!(state_name(Proto::IP, false, 7), "NONE");
        assert_eq!(state_name(Proto::IP, true, 0), "NONE");
        assert_eq!(state_name(Proto::IP, true, 2), "ERR!");
        assert_eq!(state_name(Proto::ESP, false, 0), "ERR!");
    }
}
