// SPDX-License-Identifier: GPL-2.0
//! Virtual services.
//!
//! C counterpart: `struct ip_vs_service_user_kern`, include/net/ip_vs.h.

use super::{CtlError, Name, Result};
use crate::addr::{self, Addr, Af, Port, Proto};
use crate::flags::SvcFlags;
use crate::siphash::SipKey;

/// What identifies a virtual service: a firewall mark, or protocol, address and port.
///
/// A service with a mark keeps the other values too, as the socket options let them be set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ServiceKey {
    /// Address family.
    pub af: Af,
    /// Protocol. Netlink lets 16 bits pass; no packet finds such a service.
    pub proto: u16,
    /// Virtual address.
    pub addr: Addr,
    /// Virtual port, 0 for all ports that have no service of their own.
    pub port: Port,
    /// Firewall mark; 0 for none.
    pub fwmark: u32,
}

impl ServiceKey {
    /// The key of a service found by protocol, address and port.
    #[inline]
    pub fn by_addr(af: Af, proto: impl Into<u16>, addr: Addr, port: Port) -> ServiceKey {
        ServiceKey {
            af,
            proto: proto.into(),
            addr,
            port,
            fwmark: 0,
        }
    }

    /// The key of a service found by firewall mark, as netlink makes it. With the mark 0, which
    /// netlink lets pass, it is TCP, address 0 and port 0.
    #[inline]
    pub fn by_fwmark(af: Af, fwmark: u32) -> ServiceKey {
        let proto = Proto::TCP.into();
        ServiceKey {
            af,
            proto,
            addr: Addr::UNSPECIFIED,
            port: Port::ZERO,
            fwmark,
        }
    }

    /// Whether it is found by firewall mark.
    #[inline]
    pub const fn is_fwmark(&self) -> bool {
        self.fwmark != 0
    }

    /// Whether both find the same service.
    #[inline]
    pub fn same(&self, other: &ServiceKey) -> bool {
        self.af == other.af
            && self.fwmark == other.fwmark
            && (self.is_fwmark()
                || self.proto == other.proto && self.port == other.port && self.addr == other.addr)
    }

    /// Keyed hash of what [`ServiceKey::same`] compares.
    #[inline]
    pub fn hash(&self, key: &SipKey) -> u32 {
        if self.is_fwmark() {
            addr::fwmark_hash(key, self.af, self.fwmark)
        } else {
            addr::service_hash(key, self.af, self.proto, &self.addr, self.port)
        }
    }

    /// Whether the socket options take the protocol, `EFAULT` if not. They ask even if there is a
    /// mark.
    pub fn check_sockopt_proto(&self) -> Result {
        match self.proto {
            6 | 17 | 132 => Ok(()),
            _ => Err(CtlError::Fault),
        }
    }

    /// Whether the service stands for all ports of its address (`nullsvc_counter`).
    #[inline]
    pub const fn is_catch_all(&self) -> bool {
        self.port.is_zero() && self.fwmark == 0
    }

    /// Whether the service is FTP's by its port (`ftpsvc_counter`).
    #[inline]
    pub fn is_ftp(&self) -> bool {
        self.port == Port::FTP
    }
}

/// The flags of a service after netlink's `FLAGS` attribute, of which only the bits in `mask` count.
/// `old` are those of a service to be changed.
#[inline]
pub fn merge_flags(old: Option<SvcFlags>, flags: SvcFlags, mask: SvcFlags) -> SvcFlags {
    old.unwrap_or_default() & !mask | flags & mask
}

/// How a virtual service behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceConf {
    /// Name of the scheduler; `none` for no scheduler.
    pub sched: Name,
    /// Name of the persistence engine; empty for none.
    pub pe: Name,
    /// Flags as user space gave them.
    pub flags: SvcFlags,
    /// How long clients stay with their server, in seconds.
    pub timeout: u32,
    /// Which clients are one: for IPv4 a netmask (`__be32`), for IPv6 a prefix length as a number.
    pub netmask: u32,
}

impl ServiceConf {
    /// Checks the prefix length of IPv6, 1 to 128: `EINVAL`. Stock does so after it has looked for
    /// scheduler and persistence engine.
    pub fn validate(&self, af: Af) -> Result {
        match af {
            Af::Inet6 if !(1..=128).contains(&self.netmask) => Err(CtlError::Inval),
            _ => Ok(()),
        }
    }

    /// The flags of a service just added or changed: in the table, whatever user space said.
    #[inline]
    pub const fn effective_flags(&self) -> SvcFlags {
        self.flags.with(SvcFlags::HASHED)
    }

    /// The timeout in jiffies. As in stock, too many seconds wrap around.
    #[inline]
    pub const fn timeout_jiffies(&self, hz: u32) -> u32 {
        self.timeout.wrapping_mul(hz)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: SipKey = SipKey::new([1, 2]);

    #[test]
    fn keys() {
        let a = Addr::v4(1);
        let k = ServiceKey::by_addr(Af::Inet, Proto::TCP, a, Port::from_host(80));
        assert!(k.same(&k) && !k.is_fwmark());
        for other in [
            ServiceKey { af: Af::Inet6, ..k },
            ServiceKey { proto: 17, ..k },
            ServiceKey {
                proto: 6 + 256,
                ..k
            },
            ServiceKey {
                addr: Addr::v4(2),
                ..k
            },
            ServiceKey {
                port: Port::from_host(81),
                ..k
            },
            ServiceKey { fwmark: 1, ..k },
        ] {
            assert!(!k.same(&other) && !other.same(&k));
            assert_ne!(k.hash(&KEY), other.hash(&KEY));
        }
        // A mark is all that counts, and the family.
        let m = ServiceKey::by_fwmark(Af::Inet, 7);
        let n = ServiceKey { fwmark: 7, ..k };
        assert!(m.same(&n) && m.hash(&KEY) == n.hash(&KEY));
        assert!(!m.same(&ServiceKey::by_fwmark(Af::Inet6, 7)));
        assert!(!m.same(&ServiceKey::by_fwmark(Af::Inet, 8)));
        // Mark 0 is none.
        let z = ServiceKey::by_fwmark(Af::Inet, 0);
        assert!(z.same(&ServiceKey::by_addr(
            Af::Inet,
            Proto::TCP,
            Addr::UNSPECIFIED,
            Port::ZERO
        )));
    }

    #[test]
    fn kinds_of_services() {
        let k = ServiceKey::by_addr(Af::Inet, Proto::TCP, Addr::v4(1), Port::ZERO);
        assert!(k.is_catch_all() && !k.is_ftp());
        assert!(!ServiceKey { fwmark: 1, ..k }.is_catch_all());
        assert!(ServiceKey {
            port: Port::FTP,
            ..k
        }
        .is_ftp());
        for proto in 0..300 {
            let want = matches!(proto, 6 | 17 | 132);
            assert_eq!(
                ServiceKey { proto, ..k }.check_sockopt_proto().is_ok(),
                want
            );
        }
        let icmp = ServiceKey { proto: 1, ..k };
        assert_eq!(icmp.check_sockopt_proto(), Err(CtlError::Fault));
    }

    #[test]
    fn service_values() {
        let c = ServiceConf {
            sched: Name::EMPTY,
            pe: Name::EMPTY,
            flags: SvcFlags::PERSISTENT,
            timeout: 360,
            netmask: 0,
        };
        assert_eq!(c.validate(Af::Inet), Ok(()));
        for (plen, ok) in [
            (0, false),
            (1, true),
            (128, true),
            (129, false),
            (u32::MAX, false),
        ] {
            let want = if ok { Ok(()) } else { Err(CtlError::Inval) };
            assert_eq!(ServiceConf { netmask: plen, ..c }.validate(Af::Inet6), want);
        }
        assert_eq!(c.effective_flags(), SvcFlags(3));
        assert_eq!(c.timeout_jiffies(250), 90_000);
        assert_eq!(
            ServiceConf {
                timeout: u32::MAX,
                ..c
            }
            .timeout_jiffies(250),
            0u32.wrapping_sub(250)
        );
    }

    #[test]
    fn flags_are_merged() {
        let f = SvcFlags;
        assert_eq!(merge_flags(None, f(5), f(!0)), f(5));
        assert_eq!(merge_flags(None, f(7), f(1)), f(1));
        assert_eq!(merge_flags(Some(f(3)), f(4), f(4)), f(7));
        assert_eq!(merge_flags(Some(f(7)), f(0), f(4)), f(3));
        assert_eq!(merge_flags(Some(f(7)), f(!0), f(0)), f(7));
    }

    proptest! {
        #[test]
        fn same_keys_hash_alike(
            six: bool, proto: u16, a: [u32; 4], port: u16, mark in 0u32..3, b in 0u32..3,
        ) {
            let af = if six { Af::Inet6 } else { Af::Inet };
            let addr = if six { Addr::from_words(a) } else { Addr::v4(a[0]) };
            let k = ServiceKey { af, proto, addr, port: Port::from_be(port), fwmark: mark };
            let l = ServiceKey { proto: proto ^ 1, fwmark: b, ..k };
            if k.same(&l) {
                prop_assert_eq!(k.hash(&KEY), l.hash(&KEY));
            }
            prop_assert_eq!(k.same(&l), mark == b && mark != 0);
        }
    }
}
