// SPDX-License-Identifier: GPL-2.0
//! Addresses, ports, protocols.
//!
//! C counterparts: `union nf_inet_addr`, include/uapi/linux/netfilter.h, and `ip_vs_proto_name()`,
//! net/netfilter/ipvs/ip_vs_core.c.

use crate::ctl::CtlError;
use core::fmt;

pub use crate::tuple::{fwmark_hash, service_hash, Tuple};

/// A transport port in network order.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Port(u16);

impl Port {
    /// No port, or any port.
    pub const ZERO: Port = Port(0);
    /// The FTP control port, 21.
    pub const FTP: Port = Port::from_host(21);
    /// The FTP data port, 20.
    pub const FTP_DATA: Port = Port::from_host(20);
    /// Key exchange of IPsec.
    pub const ISAKMP: Port = Port::from_host(500);

    /// Takes the 16 bits as they were loaded from a packet (`__be16`).
    #[inline]
    pub const fn from_be(be: u16) -> Self {
        Port(be)
    }

    /// Takes a port number.
    #[inline]
    pub const fn from_host(host: u16) -> Self {
        Port(host.to_be())
    }

    /// The 16 bits as they are stored in a packet (`__be16`).
    #[inline]
    pub const fn be(self) -> u16 {
        self.0
    }

    /// The port number.
    #[inline]
    pub const fn host(self) -> u16 {
        u16::from_be(self.0)
    }

    /// Whether the port is 0.
    #[inline]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.host(), f)
    }
}

/// An IPv4 or IPv6 address as four words in network order, like `union nf_inet_addr`.
///
/// An IPv4 address fills word 0 and leaves the others 0, so comparing whole values is right for both
/// families as long as only values of one family are compared.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Addr([u32; 4]);

impl Addr {
    /// `0.0.0.0` and `::`.
    pub const UNSPECIFIED: Addr = Addr([0; 4]);

    /// An IPv4 address from its 32 bits as loaded from a packet (`__be32`).
    #[inline]
    pub const fn v4(be: u32) -> Self {
        Addr([be, 0, 0, 0])
    }

    /// An address from its raw words, each as loaded from a packet.
    #[inline]
    pub const fn from_words(words: [u32; 4]) -> Self {
        Addr(words)
    }

    /// The raw words.
    #[inline]
    pub const fn words(&self) -> &[u32; 4] {
        &self.0
    }

    /// Word 0: the IPv4 address (`__be32`).
    #[inline]
    pub const fn v4_be(&self) -> u32 {
        self.0[0]
    }

    /// The IPv4 address as a number, `127.0.0.1` being `0x7f000001`.
    #[inline]
    pub const fn v4_host(&self) -> u32 {
        u32::from_be(self.0[0])
    }

    /// An address from its 16 bytes in network order.
    #[inline]
    pub const fn from_bytes16(b: [u8; 16]) -> Self {
        let v = u128::from_ne_bytes(b);
        if cfg!(target_endian = "little") {
            Addr([
                v as u32,
                (v >> 32) as u32,
                (v >> 64) as u32,
                (v >> 96) as u32,
            ])
        } else {
            Addr([
                (v >> 96) as u32,
                (v >> 64) as u32,
                (v >> 32) as u32,
                v as u32,
            ])
        }
    }

    /// The 16 bytes in network order; for IPv4 the first four count.
    #[inline]
    pub const fn to_bytes16(&self) -> [u8; 16] {
        let [a, b, c, d] = self.0;
        let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (a.to_ne_bytes(), b.to_ne_bytes());
        let ([c0, c1, c2, c3], [d0, d1, d2, d3]) = (c.to_ne_bytes(), d.to_ne_bytes());
        [
            a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3,
        ]
    }

    /// An address from a netlink attribute: up to 16 bytes, missing ones are 0, surplus ones are
    /// ignored, and for IPv4 only the first four count.
    pub fn from_attr(af: Af, bytes: &[u8]) -> Self {
        match af {
            Af::Inet => Addr::v4(u32::from_ne_bytes(first(bytes))),
            Af::Inet6 => Addr::from_bytes16(first(bytes)),
        }
    }

    /// Whether all bits are 0.
    #[inline]
    pub const fn is_unspecified(&self) -> bool {
        self.0[0] | self.0[1] | self.0[2] | self.0[3] == 0
    }

    /// Whether word 0 is in `127.0.0.0/8`.
    #[inline]
    pub const fn is_loopback4(&self) -> bool {
        self.v4_host() >> 24 == 127
    }

    /// Whether the address, taken as IPv6, is `::1`.
    #[inline]
    pub const fn is_loopback6(&self) -> bool {
        self.0[0] | self.0[1] | self.0[2] == 0 && self.0[3] == 1u32.to_be()
    }

    /// Whether word 0 is in `224.0.0.0/4`.
    #[inline]
    pub const fn is_multicast4(&self) -> bool {
        self.v4_host() >> 28 == 0xe
    }

    /// Whether the address, taken as IPv6, is in `ff00::/8`.
    #[inline]
    pub const fn is_multicast6(&self) -> bool {
        self.v4_host() >> 24 == 0xff
    }

    /// Whether the address, taken as IPv6, is that of one host: none of several, and no IPv4 address
    /// (`IPV6_ADDR_UNICAST`).
    #[inline]
    pub const fn is_unicast6(&self) -> bool {
        let mapped = self.0[0] | self.0[1] == 0 && u32::from_be(self.0[2]) == 0xffff;
        !self.is_multicast6() && !self.is_unspecified() && !mapped
    }

    /// The network part: for IPv4 `mask` is a netmask (`__be32`), for IPv6 a prefix length.
    ///
    /// Used to key persistence templates (`ip_vs_sched_persist`).
    #[inline]
    pub fn masked(&self, af: Af, mask: u32) -> Addr {
        match af {
            Af::Inet => Addr::v4(self.0[0] & mask),
            Af::Inet6 => {
                let v = u128::from_be_bytes(self.to_bytes16());
                let host_bits = 128u32.saturating_sub(mask);
                let keep = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                Addr::from_bytes16((v & keep).to_be_bytes())
            }
        }
    }

    /// The address as two words for hashing; any fixed order of its bits will do.
    #[inline]
    pub(crate) const fn halves(&self) -> (u64, u64) {
        let [a, b, c, d] = self.0;
        (((a as u64) << 32) | b as u64, ((c as u64) << 32) | d as u64)
    }
}

/// The first `N` bytes; what is short of that is 0.
#[inline]
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    if let Some(first) = bytes.first_chunk() {
        return *first;
    }
    let mut first = [0; N];
    for (to, from) in first.iter_mut().zip(bytes) {
        *to = *from;
    }
    first
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, b) in self.to_bytes16().iter().enumerate() {
            if i > 0 && i % 2 == 0 {
                f.write_str(":")?;
            }
            write!(f, "{b:02x}")?;
        }
        Ok(())
    }
}

/// An address family; the discriminants are `AF_INET` and `AF_INET6`.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Af {
    /// IPv4.
    Inet = 2,
    /// IPv6.
    Inet6 = 10,
}

impl Af {
    /// The number used by sockets and netlink.
    #[inline]
    pub const fn num(self) -> u16 {
        self as u16
    }

    /// 0 for IPv4, 1 for IPv6: index into per-family counters.
    #[inline]
    pub const fn index(self) -> usize {
        match self {
            Af::Inet => 0,
            Af::Inet6 => 1,
        }
    }
}

impl TryFrom<u16> for Af {
    type Error = CtlError;

    /// `EAFNOSUPPORT` for any other number.
    #[inline]
    fn try_from(n: u16) -> Result<Self, CtlError> {
        match n {
            2 => Ok(Af::Inet),
            10 => Ok(Af::Inet6),
            _ => Err(CtlError::AfNoSupport),
        }
    }
}

/// An IP protocol number.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Proto(pub u8);

impl Proto {
    /// 0: persistence templates of services marked by fwmark.
    pub const IP: Proto = Proto(0);
    /// ICMP.
    pub const ICMP: Proto = Proto(1);
    /// IP in IP.
    pub const IPIP: Proto = Proto(4);
    /// TCP.
    pub const TCP: Proto = Proto(6);
    /// UDP.
    pub const UDP: Proto = Proto(17);
    /// IPv6 in IP.
    pub const IPV6: Proto = Proto(41);
    /// GRE.
    pub const GRE: Proto = Proto(47);
    /// ESP.
    pub const ESP: Proto = Proto(50);
    /// AH.
    pub const AH: Proto = Proto(51);
    /// ICMPv6.
    pub const ICMPV6: Proto = Proto(58);
    /// SCTP.
    pub const SCTP: Proto = Proto(132);

    /// The protocol's name as `ip_vs_proto_name()` spells it, or `IP_` and the number.
    pub fn name(self, w: &mut dyn fmt::Write) -> fmt::Result {
        write_proto_name(self.into(), w)
    }
}

impl From<Proto> for u16 {
    #[inline]
    fn from(p: Proto) -> u16 {
        u16::from(p.0)
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name(f)
    }
}

impl fmt::Debug for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name(f)
    }
}

/// The fixed names among the protocols' names; `None` where the number is printed.
#[inline]
pub const fn proto_name(proto: u16) -> Option<&'static str> {
    match proto {
        0 => Some("IP"),
        1 => Some("ICMP"),
        6 => Some("TCP"),
        17 => Some("UDP"),
        58 => Some("ICMPv6"),
        132 => Some("SCTP"),
        _ => None,
    }
}

/// Writes the name of a protocol. Services configured through netlink have 16-bit protocol numbers.
pub fn write_proto_name(proto: u16, w: &mut dyn fmt::Write) -> fmt::Result {
    match proto_name(proto) {
        Some(name) => w.write_str(name),
        None => write!(w, "IP_{proto}"),
    }
}

/// An address and a port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Endpoint {
    /// The address.
    pub addr: Addr,
    /// The port, 0 where the protocol has none.
    pub port: Port,
}

impl Endpoint {
    /// Puts address and port together.
    #[inline]
    pub const fn new(addr: Addr, port: Port) -> Self {
        Endpoint { addr, port }
    }

    /// An IPv4 endpoint as one number: address above, port below, 16 bits free at the top.
    #[inline]
    pub(crate) const fn pack4(&self) -> u64 {
        ((self.addr.v4_be() as u64) << 16) | self.port.be() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ports() {
        let p = Port::from_host(80);
        assert_eq!(p.be().to_ne_bytes(), [0, 80]);
        assert_eq!(Port::from_be(p.be()).host(), 80);
        assert!(Port::ZERO.is_zero() && !p.is_zero());
        assert_eq!((Port::FTP.host(), Port::FTP_DATA.host()), (21, 20));
        assert_eq!(format!("{p:?}"), "80");
    }

    #[test]
    fn addresses() {
        let a = Addr::v4(u32::from_ne_bytes([127, 1, 2, 3]));
        assert_eq!(a.v4_host(), 0x7f01_0203);
        assert!(a.is_loopback4() && !a.is_multicast4() && !a.is_unspecified());
        assert_eq!(
            a.to_bytes16(),
            [127, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert!(Addr::v4(u32::from_ne_bytes([239, 0, 0, 1])).is_multicast4());
        assert!(!Addr::v4(u32::from_ne_bytes([240, 0, 0, 1])).is_multicast4());
        assert!(!Addr::v4(u32::from_ne_bytes([223, 0, 0, 1])).is_multicast4());
        assert!(Addr::from_words([u32::from_ne_bytes([0xff, 2, 0, 0]), 0, 0, 1]).is_multicast6());
        assert!(Addr::UNSPECIFIED.is_unspecified());
        assert!(!Addr::from_words([0, 0, 0, 1]).is_unspecified());
        let v6 = Addr::from_bytes16(core::array::from_fn(|i| i as u8));
        let one = Addr::from_bytes16(core::array::from_fn(|i| u8::from(i == 15)));
        let mapped = Addr::from_words([0, 0, 0xffff_u32.to_be(), 1]);
        assert!(one.is_unicast6() && v6.is_unicast6() && !mapped.is_unicast6());
        assert!(one.is_loopback6() && !Addr::UNSPECIFIED.is_loopback6() && !a.is_loopback6());
        assert_eq!(format!("{v6:?}"), "0001:0203:0405:0607:0809:0a0b:0c0d:0e0f");
    }

    #[test]
    fn addresses_from_attributes() {
        let b: [u8; 20] = core::array::from_fn(|i| i as u8 + 1);
        assert_eq!(
            Addr::from_attr(Af::Inet, &b),
            Addr::v4(u32::from_ne_bytes([1, 2, 3, 4]))
        );
        assert_eq!(
            Addr::from_attr(Af::Inet, &b[..2]),
            Addr::v4(u32::from_ne_bytes([1, 2, 0, 0]))
        );
        assert_eq!(Addr::from_attr(Af::Inet6, &b).to_bytes16(), b[..16]);
        assert_eq!(
            Addr::from_attr(Af::Inet6, &b[..4]).to_bytes16()[3..5],
            [4, 0]
        );
        assert_eq!(Addr::from_attr(Af::Inet6, &[]), Addr::UNSPECIFIED);
    }

    #[test]
    fn families() {
        assert_eq!(Af::try_from(2), Ok(Af::Inet));
        assert_eq!(Af::try_from(10), Ok(Af::Inet6));
        for n in [0, 1, 3, 11, 258, u16::MAX] {
            assert_eq!(Af::try_from(n), Err(CtlError::AfNoSupport));
        }
        for af in [Af::Inet, Af::Inet6] {
            assert_eq!(Af::try_from(af.num()), Ok(af));
        }
        assert_eq!([Af::Inet.index(), Af::Inet6.index()], [0, 1]);
    }

    #[test]
    fn protocol_names() {
        let names: Vec<_> = [0, 1, 4, 6, 17, 41, 47, 50, 51, 58, 132, 255]
            .into_iter()
            .map(|p| Proto(p).to_string())
            .collect();
        let want = [
            "IP", "ICMP", "IP_4", "TCP", "UDP", "IP_41", "IP_47", "IP_50", "IP_51", "ICMPv6",
            "SCTP", "IP_255",
        ];
        assert_eq!(names, want);
        let mut s = String::new();
        write_proto_name(65535, &mut s).unwrap();
        assert_eq!(s, "IP_65535");
    }

    proptest! {
        #[test]
        fn bytes_and_back(b: [u8; 16]) {
            prop_assert_eq!(Addr::from_bytes16(b).to_bytes16(), b);
            let words = *Addr::from_bytes16(b).words();
            prop_assert_eq!(words[1].to_ne_bytes(), [b[4], b[5], b[6], b[7]]);
        }

        #[test]
        fn masked(b: [u8; 16], plen in 0u32..200, mask: u32) {
            let a = Addr::from_bytes16(b);
            prop_assert_eq!(a.masked(Af::Inet, mask), Addr::v4(a.v4_be() & mask));
            let m = a.masked(Af::Inet6, plen).to_bytes16();
            for i in 0..128 {
                let bit = |b: &[u8; 16]| (b[i / 8] >> (7 - i % 8)) & 1;
                let want = if (i as u32) < plen { bit(&b) } else { 0 };
                prop_assert_eq!(bit(&m), want, "bit {}", i);
            }
        }
    }
}
