// SPDX-License-Identifier: GPL-2.0
//! Destinations.
//!
//! C counterpart: `struct ip_vs_dest_user_kern`, include/net/ip_vs.h.

use super::{CtlError, Result};
use crate::addr::{Addr, Af, Port};
use crate::flags::{tun_type, ConnFlags, FwdMethod};
use crate::overload;

/// What identifies a destination within its service.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DestKey {
    /// Address family, which with tunnels may differ from the service's.
    pub af: Af,
    /// Address of the real server.
    pub addr: Addr,
    /// Port of the real server.
    pub port: Port,
}

/// How a destination is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DestConf {
    /// Forwarding method and, from the socket options, more flags of [`ConnFlags::DEST_MASK`].
    pub conn_flags: ConnFlags,
    /// Weight.
    pub weight: i32,
    /// So many connections overload it; 0 for no limit.
    pub u_threshold: u32,
    /// Below so many it is not overloaded any more; 0 for three quarters of the upper threshold.
    pub l_threshold: u32,
    /// One of [`tun_type`].
    pub tun_type: u16,
    /// Port of the tunnel, GUE's.
    pub tun_port: Port,
    /// Bits of [`tun_flags`](crate::flags::tun_flags).
    pub tun_flags: u16,
}

/// Checks a destination that is to be added or changed, in stock's order: a negative weight `ERANGE`,
/// a lower threshold above the upper one `ERANGE`, an upper threshold above `INT_MAX` `EINVAL`, GUE
/// without a port `EINVAL`.
pub fn validate_dest(conf: &DestConf) -> Result {
    if conf.weight < 0 || conf.l_threshold > conf.u_threshold {
        return Err(CtlError::Range);
    }
    if conf.u_threshold > i32::MAX as u32 {
        return Err(CtlError::Inval);
    }
    if conf.tun_type == tun_type::GUE && conf.tun_port.is_zero() {
        return Err(CtlError::Inval);
    }
    Ok(())
}

/// Checks a destination of another address family than its service's, which netlink allows with
/// nothing but tunnels and not while a synchronisation daemon runs: `EINVAL`.
pub fn validate_family(svc: Af, dest: Af, conf: &DestConf, sync_running: bool) -> Result {
    if svc == dest || conf.conn_flags.0 == FwdMethod::Tunnel.bits() && !sync_running {
        Ok(())
    } else {
        Err(CtlError::Inval)
    }
}

impl DestConf {
    /// The forwarding method; `None` for the values 5 to 7.
    #[inline]
    pub const fn fwd(&self) -> Option<FwdMethod> {
        self.conn_flags.fwd()
    }

    /// The flags new connections take from the destination: what user space may set, inactive, and,
    /// unless masquerading, without replies passing here.
    #[inline]
    pub fn effective_flags(&self) -> ConnFlags {
        let flags = self.conn_flags & ConnFlags::DEST_MASK | ConnFlags::INACTIVE;
        if flags.is_masq() {
            flags
        } else {
            flags | ConnFlags::NOOUTPUT
        }
    }

    /// The thresholds as they take effect.
    #[inline]
    pub const fn thresholds(&self) -> overload::Thresholds {
        overload::Thresholds::new(self.u_threshold, self.l_threshold)
    }

    /// The port under which a destination at `port` is kept in the table of real servers, where
    /// replies and tunnelled ICMP are looked up; `None` if it is not kept there.
    #[inline]
    pub const fn real_server_port(&self, port: Port) -> Option<Port> {
        match self.fwd() {
            Some(FwdMethod::Masq) => Some(port),
            Some(FwdMethod::Tunnel) => match self.tun_type {
                tun_type::GUE => Some(self.tun_port),
                tun_type::IPIP | tun_type::GRE => Some(Port::ZERO),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether a change from `old` moves the destination in the table of real servers.
    #[inline]
    pub const fn moves_real_server(&self, old: &DestConf) -> bool {
        (self.conn_flags.0 ^ old.conn_flags.0) & ConnFlags::FWD_MASK.0 != 0
            || self.tun_type != old.tun_type
            || self.tun_port.be() != old.tun_port.be()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn destinations_are_checked_in_order() {
        let ok = DestConf {
            weight: 1,
            ..DestConf::default()
        };
        let check = |c: DestConf| validate_dest(&c).err();
        assert_eq!(check(ok), None);
        assert_eq!(check(DestConf { weight: 0, ..ok }), None);
        assert_eq!(check(DestConf { weight: -1, ..ok }), Some(CtlError::Range));
        assert_eq!(
            check(DestConf {
                l_threshold: 1,
                ..ok
            }),
            Some(CtlError::Range)
        );
        assert_eq!(
            check(DestConf {
                l_threshold: 1,
                u_threshold: 1,
                ..ok
            }),
            None
        );
        let huge = DestConf {
            u_threshold: i32::MAX as u32 + 1,
            ..ok
        };
        assert_eq!(check(huge), Some(CtlError::Inval));
        assert_eq!(
            check(DestConf {
                u_threshold: i32::MAX as u32,
                ..ok
            }),
            None
        );
        assert_eq!(
            check(DestConf { weight: -1, ..huge }),
            Some(CtlError::Range)
        );
        assert_eq!(
            check(DestConf {
                l_threshold: u32::MAX,
                ..huge
            }),
            Some(CtlError::Range)
        );
        let gue = DestConf {
            tun_type: tun_type::GUE,
            ..ok
        };
        assert_eq!(check(gue), Some(CtlError::Inval));
        assert_eq!(
            check(DestConf {
                tun_port: Port::from_host(1),
                ..gue
            }),
            None
        );
        assert_eq!(check(DestConf { weight: -1, ..gue }), Some(CtlError::Range));
        assert_eq!(
            check(DestConf {
                tun_type: tun_type::GRE,
                ..ok
            }),
            None
        );
    }

    #[test]
    fn mixed_families() {
        let conf = |bits| DestConf {
            conn_flags: ConnFlags(bits),
            ..DestConf::default()
        };
        for bits in 0..8 {
            let same = validate_family(Af::Inet, Af::Inet, &conf(bits), true);
            assert_eq!(same, Ok(()));
            let mixed = |sync| validate_family(Af::Inet, Af::Inet6, &conf(bits), sync);
            assert_eq!(mixed(false).is_ok(), bits == 2);
            assert_eq!(mixed(true), Err(CtlError::Inval));
        }
    }

    #[test]
    fn flags_of_destinations() {
        let flags = |bits| {
            DestConf {
                conn_flags: ConnFlags(bits),
                ..DestConf::default()
            }
            .effective_flags()
            .bits()
        };
        assert_eq!(flags(0), 0x100);
        for fwd in 1..8 {
            assert_eq!(flags(fwd), 0x180 | fwd);
        }
        // Of what the socket options let through, some is kept.
        assert_eq!(flags(!0), 0x1_2187);
    }

    #[test]
    fn real_servers() {
        let port = Port::from_host(80);
        let at = |fwd: u32, tun_type, tun_port| {
            let conf = DestConf {
                conn_flags: ConnFlags(fwd),
                tun_type,
                tun_port: Port::from_host(tun_port),
                ..DestConf::default()
            };
            conf.real_server_port(port).map(Port::host)
        };
        assert_eq!(at(0, 1, 6080), Some(80));
        assert_eq!(at(2, tun_type::IPIP, 5), Some(0));
        assert_eq!(at(2, tun_type::GRE, 5), Some(0));
        assert_eq!(at(2, tun_type::GUE, 6080), Some(6080));
        assert_eq!(at(2, 3, 6080), None);
        for fwd in [1, 3, 4, 5, 6, 7] {
            assert_eq!(at(fwd, 0, 0), None);
        }
        let c = DestConf::default();
        assert!(!c.moves_real_server(&DestConf {
            weight: 9,
            tun_flags: 1,
            ..c
        }));
        assert!(!c.moves_real_server(&DestConf {
            conn_flags: ConnFlags::ONE_PACKET,
            ..c
        }));
        assert!(c.moves_real_server(&DestConf {
            conn_flags: ConnFlags(2),
            ..c
        }));
        assert!(c.moves_real_server(&DestConf { tun_type: 1, ..c }));
        assert!(c.moves_real_server(&DestConf {
            tun_port: port,
            ..c
        }));
        assert_eq!(
            DestConf {
                u_threshold: 8,
                ..c
            }
            .thresholds()
            .lower,
            6
        );
    }

    proptest! {
        #[test]
        fn accepted_destinations_keep_the_rules(
            weight: i32, u_threshold: u32, l_threshold: u32, tun_type in 0u16..4, port: u16,
        ) {
            let tun_port = Port::from_be(port);
            let c = DestConf {
                weight, u_threshold, l_threshold, tun_type, tun_port, ..DestConf::default()
            };
            if validate_dest(&c).is_ok() {
                prop_assert!(weight >= 0 && u_threshold <= i32::MAX as u32);
                let t = c.thresholds();
                prop_assert!(t.lower <= t.upper);
                prop_assert!(c.tun_type != tun_type::GUE || port != 0);
            }
        }
    }
}
