// SPDX-License-Identifier: GPL-2.0
//! What goes around a packet on its way through a tunnel, and how to find it again in an ICMP error.
//!
//! C counterparts: net/netfilter/ipvs/ip_vs_xmit.c, `ipvs_gue_encap()`, `ipvs_gre_encap()`, and
//! ip_vs_core.c, `ipvs_udp_decap()`, `ipvs_gre_decap()`

use crate::{
    addr::{Addr, Af, Port},
    flags::{tun_flags, tun_type},
};

/// Length of an IPv4 header without options.
pub const IPV4_LEN: u32 = 20;
/// Length of a UDP header.
pub const UDP_LEN: u32 = 8;
/// Length of a GUE header without options.
pub const GUE_LEN: u32 = 4;
/// Length of what remote checksum offload adds to it: private flags, and two offsets.
pub const REMCSUM_LEN: u32 = 8;
/// Length of an IPv6 header.
pub const IPV6_LEN: u32 = 40;
/// The shortest MTU a tunnel can do with.
pub const MIN_MTU: u32 = 68;
/// The same for tunnels of IPv6.
pub const MIN_MTU6: u32 = 1280;

/// Protocol numbers of packets in packets, and of what carries them.
pub mod proto {
    /// IPv4 in IP.
    pub const IPIP: u8 = 4;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IP.
    pub const IPV6: u8 = 41;
    /// GRE.
    pub const GRE: u8 = 47;
}

/// How packets are carried to a real server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tunnel {
    /// In IP and nothing else: also for types that mean nothing.
    Ip,
    /// In UDP, with a GUE header.
    Gue {
        /// With a UDP checksum.
        checksum: bool,
        /// The server fills in checksums that a device would have filled in here.
        remote: bool,
    },
    /// In GRE.
    Gre {
        /// With a checksum.
        checksum: bool,
    },
}

impl Tunnel {
    /// From what was configured.
    #[inline]
    pub const fn new(kind: u16, flags: u16) -> Self {
        let csum = flags & tun_flags::CSUM != 0;
        let remote = flags & tun_flags::REMCSUM != 0;
        match kind {
            tun_type::GUE => Self::Gue {
                checksum: csum || remote,
                remote,
            },
            tun_type::GRE => Self::Gre { checksum: csum },
            _ => Self::Ip,
        }
    }

    /// Bytes between the outer IP header and the packet; `partial`: a device was to fill in the
    /// packet's checksum.
    #[inline]
    pub const fn header_len(self, partial: bool) -> u32 {
        match self {
            Self::Ip => 0,
            Self::Gue { remote, .. } if remote && partial => UDP_LEN + GUE_LEN + REMCSUM_LEN,
            Self::Gue { .. } => UDP_LEN + GUE_LEN,
            Self::Gre { checksum } => gre_len(checksum),
        }
    }
}

const fn gre_len(checksum: bool) -> u32 {
    if checksum {
        8
    } else {
        4
    }
}

/// Protocol number of a packet in a packet.
#[inline]
pub const fn inner_proto(af: Af) -> u8 {
    match af {
        Af::Inet => proto::IPIP,
        Af::Inet6 => proto::IPV6,
    }
}

/// The outer header's type of service: that of the packet, but congestion it met before is not
/// reported twice (RFC 3168, 9.1.1, full functionality).
#[inline]
pub const fn outer_tos(inner: u8) -> u8 {
    const ECN: u8 = 3;
    const ECT_0: u8 = 2;
    if inner & ECN == ECN {
        inner & !ECN | ECT_0
    } else {
        inner
    }
}

/// What the outer IPv4 header says.
#[derive(Clone, Copy, Debug)]
pub struct Outer4 {
    /// Type of service, see [`outer_tos`].
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// Must not be split.
    pub dont_fragment: bool,
    /// What it carries.
    pub proto: u8,
    /// From where, in network order.
    pub src: u32,
    /// To where, in network order.
    pub dst: u32,
}

impl Outer4 {
    /// The header; length, identification and checksum are for who sends it.
    #[inline]
    pub const fn emit(&self) -> [u8; IPV4_LEN as usize] {
        let [s0, s1, s2, s3] = self.src.to_ne_bytes();
        let [d0, d1, d2, d3] = self.dst.to_ne_bytes();
        let frag = if self.dont_fragment { 0x40 } else { 0 };
        [
            0x45, self.tos, 0, 0, 0, 0, frag, 0, self.ttl, self.proto, 0, 0, s0, s1, s2, s3, d0,
            d1, d2, d3,
        ]
    }
}

/// What the outer IPv6 header says.
#[derive(Clone, Copy, Debug)]
pub struct Outer6 {
    /// Traffic class, see [`outer_tos`].
    pub tos: u8,
    /// Hop limit.
    pub ttl: u8,
    /// What it carries.
    pub proto: u8,
    /// From where.
    pub src: Addr,
    /// To where.
    pub dst: Addr,
}

impl Outer6 {
    /// The header; the length is for who sends it.
    pub fn emit(&self) -> [u8; IPV6_LEN as usize] {
        let mut h = [0; IPV6_LEN as usize];
        let [v, c, _, _, _, _, proto, ttl, ends @ ..] = &mut h;
        (*v, *c) = (0x60 | (self.tos >> 4), self.tos << 4);
        (*proto, *ttl) = (self.proto, self.ttl);
        let addrs = self
            .src
            .to_bytes16()
            .into_iter()
            .chain(self.dst.to_bytes16());
        for (to, from) in ends.iter_mut().zip(addrs) {
            *to = from;
        }
        h
    }
}

/// A UDP header without checksum; a length that does not fit is 0.
#[inline]
pub fn udp(src: Port, dst: Port, len: u32) -> [u8; UDP_LEN as usize] {
    let [s0, s1] = src.be().to_ne_bytes();
    let [d0, d1] = dst.be().to_ne_bytes();
    let [l0, l1] = u16::try_from(len).unwrap_or(0).to_be_bytes();
    [s0, s1, d0, d1, l0, l1, 0, 0]
}

/// A GUE header.
#[inline]
pub const fn gue(inner: u8) -> [u8; GUE_LEN as usize] {
    [0, inner, 0, 0]
}

/// A GUE header that has the server fill in a checksum: of all from `start` on in the packet, to be
/// put `offset` bytes after that.
pub const fn gue_remote(
    inner: u8,
    start: u16,
    offset: u16,
) -> [u8; (GUE_LEN + REMCSUM_LEN) as usize] {
    let [s0, s1] = start.to_be_bytes();
    let [o0, o1] = start.wrapping_add(offset).to_be_bytes();
    // Two words of options; private flags follow; the one for remote checksums.
    [2, inner, 0, 1, 0x80, 0, 0, 0, s0, s1, o0, o1]
}

/// Length of the UDP and GUE headers before an IPv4 packet, from the GUE header's first bytes.
pub const fn gue_to_packet(header: [u8; GUE_LEN as usize]) -> Option<u32> {
    let [first, inner, _, _] = header;
    // Control messages and other versions are not for us.
    if first & 0xe0 != 0 || inner != proto::IPIP {
        return None;
    }
    Some(UDP_LEN + GUE_LEN + ((first & 0x1f) as u32) * 4)
}

/// Length of the GRE header before an IPv4 packet, from its first bytes.
pub const fn gre_to_packet(header: [u8; 4]) -> Option<u32> {
    match header {
        [flags @ (0 | 0x80), 0, 0x08, 0x00] => Some(gre_len(flags != 0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn outer6() {
        let end =
            |last| Addr::from_bytes16(core::array::from_fn(|i| if i == 15 { last } else { 0xfd }));
        let h = Outer6 {
            tos: 0xb8,
            ttl: 63,
            proto: 41,
            src: end(1),
            dst: end(2),
        }
        .emit();
        assert_eq!(h[..8], [0x6b, 0x80, 0, 0, 0, 0, 41, 63]);
        assert_eq!((h[8], h[23], h[24], h[39]), (0xfd, 1, 0xfd, 2));
    }

    #[test]
    fn lengths() {
        for (kind, flags, plain, partial) in [
            (tun_type::IPIP, tun_flags::CSUM, 0, 0),
            (tun_type::GUE, tun_flags::NOCSUM, 12, 12),
            (tun_type::GUE, tun_flags::CSUM, 12, 12),
            (tun_type::GUE, tun_flags::REMCSUM, 12, 20),
            (tun_type::GRE, tun_flags::NOCSUM, 4, 4),
            (tun_type::GRE, tun_flags::CSUM, 8, 8),
            (tun_type::GRE, tun_flags::REMCSUM, 4, 4),
            (77, tun_flags::CSUM, 0, 0),
        ] {
            let t = Tunnel::new(kind, flags);
            assert_eq!((t.header_len(false), t.header_len(true)), (plain, partial));
        }
        // Remote offload needs a checksum of the whole.
        assert_eq!(
            Tunnel::new(tun_type::GUE, tun_flags::REMCSUM),
            Tunnel::Gue {
                checksum: true,
                remote: true
            }
        );
    }

    #[test]
    fn congestion_is_not_copied() {
        for (inner, outer) in [(0, 0), (1, 1), (2, 2), (3, 2), (0xb8, 0xb8), (0xff, 0xfe)] {
            assert_eq!(outer_tos(inner), outer);
        }
    }

    #[test]
    fn headers() {
        let h = Outer4 {
            tos: 0x10,
            ttl: 63,
            dont_fragment: true,
            proto: inner_proto(Af::Inet),
            src: u32::from_ne_bytes([10, 0, 0, 1]),
            dst: u32::from_ne_bytes([10, 0, 0, 2]),
        };
        let want = [
            0x45, 0x10, 0, 0, 0, 0, 0x40, 0, 63, 4, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        assert_eq!(h.emit(), want);
        let (a, b) = (Port::from_host(50000), Port::from_host(6080));
        assert_eq!(udp(a, b, 300), [0xc3, 0x50, 0x17, 0xc0, 1, 44, 0, 0]);
        assert_eq!(udp(a, b, 65536)[4..], [0, 0, 0, 0]);
        assert_eq!(gue(proto::IPIP), [0, 4, 0, 0]);
        let want = [2, 4, 0, 1, 0x80, 0, 0, 0, 0, 20, 0, 36];
        assert_eq!(gue_remote(proto::IPIP, 20, 16), want);
        assert_eq!(inner_proto(Af::Inet6), 41);
    }

    #[test]
    fn back_to_the_packet() {
        assert_eq!(gue_to_packet(gue(proto::IPIP)), Some(12));
        assert_eq!(gue_to_packet([2, 4, 0, 1]), Some(20));
        for other in [[0x20, 4, 0, 0], [0x40, 4, 0, 0], [0, 41, 0, 0]] {
            assert_eq!(gue_to_packet(other), None);
        }
        assert_eq!(gre_to_packet([0, 0, 8, 0]), Some(4));
        assert_eq!(gre_to_packet([0x80, 0, 8, 0]), Some(8));
        for other in [[0x20, 0, 8, 0], [0, 1, 8, 0], [0, 0, 0x86, 0xdd]] {
            assert_eq!(gre_to_packet(other), None);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(a: [u8; 4], start: u16, offset: u16, kind: u16, flags: u16, partial: bool) {
            let _ = (gre_to_packet(a), gue_remote(4, start, offset));
            prop_assert!(gue_to_packet(a).is_none_or(|n| (12..=136).contains(&n)));
            prop_assert!(Tunnel::new(kind, flags).header_len(partial) <= 20);
        }
    }
}
