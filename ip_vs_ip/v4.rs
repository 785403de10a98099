// SPDX-License-Identifier: GPL-2.0
//! IPv4.
//!
//! C counterparts: net/netfilter/ipvs/ip_vs_core.c, ip_vs_xmit.c

use super::{defrag_user, v6::V6, Family, Ip};
use crate::{
    ip_vs_conn::Conn,
    ip_vs_icmp::{Error, Inner},
    ip_vs_ns::NsRef,
    ip_vs_proto::End,
    ip_vs_svc::Dest,
    ip_vs_tunnel::{self, About},
};
use ipvs_logic::{
    addr::{Addr, Af, Endpoint, Proto},
    checksum::{self, Sum},
};
use kernel::prelude::*;
use knet::{
    hook::Point,
    net::Net,
    rcu::{Arc, Rcu, Ref, Slot},
    route::{addr_type4, AddrType, Purpose, Route},
    skb::{Packet, Verdict},
};

/// ICMP: what cannot be delivered, and why.
pub mod icmp {
    /// Destination unreachable.
    pub const DEST_UNREACH: u8 = 3;
    /// It has no such port.
    pub const PORT_UNREACH: u8 = 3;
    /// It is too long and must not be split.
    pub const FRAG_NEEDED: u8 = 4;
    /// Source quench.
    pub const SOURCE_QUENCH: u8 = 4;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// It passed too many routers.
    pub const EXC_TTL: u8 = 0;
}

/// The family of IPv4.
#[derive(Clone, Copy)]
pub struct V4;

/// An IPv4 header.
pub type Ip4 = Ip<V4>;

impl Ip4 {
    /// Length, options included.
    #[inline]
    pub fn header_len(&self) -> u32 {
        self.transport.wrapping_sub(self.offset)
    }
}

impl Family for V4 {
    const AF: Af = Af::Inet;
    const ICMP: Proto = Proto::ICMP;
    type Route = Route;

    #[inline]
    fn read(packet: &Packet<'_>, offset: u32) -> Option<Ip4> {
        let [vihl, _, _, _, _, _, f0, f1, ttl, proto, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
            packet.read::<20>(offset)?;
        let frag = u16::from_be_bytes([f0, f1]);
        let len = u32::from(vihl & 15) << 2;
        Some(Ip4 {
            offset,
            transport: offset.wrapping_add(len),
            src: Addr::v4(u32::from_ne_bytes([s0, s1, s2, s3])),
            dst: Addr::v4(u32::from_ne_bytes([d0, d1, d2, d3])),
            proto: Proto(proto),
            ttl,
            dont_fragment: frag & 0x4000 != 0,
            is_fragment: frag & 0x3fff != 0,
            is_later_fragment: frag & 0x1fff != 0,
            is_sane: vihl >> 4 == 4 && len >= 20,
            family: V4,
        })
    }

    /// Computes the header's checksum, too.
    #[inline]
    fn set_addr(ip: &Ip4, packet: &mut Packet<'_>, end: End, addr: &Addr) {
        let at = ip.offset as usize;
        let field = if end == End::Src { 12 } else { 16 };
        let len = ip.header_len() as usize;
        let Some(h) = packet.head_mut().get_mut(at..at.saturating_add(len)) else {
            return;
        };
        if let Some(f) = h.get_mut(field..field + 4) {
            f.copy_from_slice(&addr.v4_be().to_ne_bytes());
        }
        if let Some(c) = h.get_mut(10..12) {
            c.fill(0);
        }
        let check = checksum::ipv4_header(h);
        if let Some(c) = h.get_mut(10..12) {
            c.copy_from_slice(&check.to_ne_bytes());
        }
    }

    #[inline]
    fn decrement_ttl(ip: &Ip4, packet: &mut Packet<'_>) -> Result {
        if packet.is_shared() {
            return packet.decrement_ttl4();
        }
        let at = ip.offset as usize;
        let header = packet
            .head_mut()
            .get_mut(at..)
            .and_then(|h| h.get_mut(..20));
        if let Some([_, _, _, _, _, _, _, _, ttl, proto, c0, c1, ..]) = header {
            let old = u16::from_ne_bytes([*ttl, *proto]);
            *ttl = ttl.wrapping_sub(1);
            let new = u16::from_ne_bytes([*ttl, *proto]);
            let check = checksum::Delta::word16(old, new).apply(u16::from_ne_bytes([*c0, *c1]));
            [*c0, *c1] = check.to_ne_bytes();
            return Ok(());
        }
        packet.decrement_ttl4()
    }

    fn gather<'a>(packet: Packet<'a>, _ip: &Ip4, point: Point) -> Result<Packet<'a>, Verdict<'a>> {
        packet.defrag4(defrag_user(point))
    }

    #[inline]
    fn route_slot(dest: &Dest) -> &Slot<Route> {
        &dest.route
    }

    fn find_route(net: &Net, addr: &Addr, purpose: Purpose) -> Result<Arc<Route>> {
        Route::lookup(net, addr.v4_be(), purpose)
    }

    fn is_route_local(packet: &Packet<'_>) -> bool {
        packet.is_route_local()
    }

    fn is_other_host(net: &Net, addr: &Addr) -> bool {
        addr_type4(net, addr.v4_be()) == AddrType::Unicast
    }

    #[inline]
    fn tunnel<'a>(
        packet: Packet<'a>,
        ip: &Ip4,
        conn: &'a Conn,
        rcu: Rcu<'a>,
        is_icmp: bool,
    ) -> Verdict<'a> {
        match conn.real_af {
            Af::Inet => ip_vs_tunnel::send::<V4, V4>(packet, ip, conn, rcu, is_icmp),
            Af::Inet6 => ip_vs_tunnel::send::<V4, V6>(packet, ip, conn, rcu, is_icmp),
        }
    }

    fn about(ns: NsRef<'_>, rcu: Rcu<'_>, packet: &Packet<'_>, quoted: &Ip4) -> About {
        ip_vs_tunnel::about4(ns, rcu, packet, quoted)
    }

    fn relay<'a>(
        ns: NsRef<'a>,
        rcu: Rcu<'a>,
        packet: Packet<'a>,
        error: &Error<V4>,
        request: &Inner<V4>,
        conn: &Conn,
    ) -> Verdict<'a> {
        ip_vs_tunnel::relay4(ns, rcu, packet, error, request, conn)
    }

    #[inline(always)]
    fn send<'a>(packet: Packet<'a>, route: Ref<'_, Route>, rcu: Rcu<'_>) -> Verdict<'a> {
        packet.send4(route, rcu)
    }

    #[inline]
    fn reroute(packet: &mut Packet<'_>) -> Result {
        packet.reroute4()
    }

    #[inline]
    fn is_from_loopback(ip: &Ip4, _packet: &Packet<'_>) -> bool {
        ip.src.is_loopback4()
    }

    #[inline]
    fn is_foreign_to(packet: &Packet<'_>, addr: &Addr) -> bool {
        addr.is_loopback4() && packet.is_route_input()
    }

    #[inline]
    fn must_fit(ip: &Ip4, is_icmp: bool) -> bool {
        ip.dont_fragment && !is_icmp
    }

    #[inline]
    fn check_mtu(_ip: &Ip4, packet: &mut Packet<'_>, mtu: u32, _is_icmp: bool) -> bool {
        if !packet.exceeds_mtu(mtu) {
            return true;
        }
        packet.send_icmp4(icmp::DEST_UNREACH, icmp::FRAG_NEEDED, mtu.to_be());
        false
    }

    fn send_port_unreachable(packet: &mut Packet<'_>) {
        packet.send_icmp4(icmp::DEST_UNREACH, icmp::PORT_UNREACH, 0);
    }

    fn send_time_exceeded(packet: &mut Packet<'_>) {
        packet.count_header_error4();
        packet.send_icmp4(icmp::TIME_EXCEEDED, icmp::EXC_TTL, 0);
    }

    fn is_icmp_error(kind: u8) -> bool {
        matches!(
            kind,
            icmp::DEST_UNREACH | icmp::SOURCE_QUENCH | icmp::TIME_EXCEEDED
        )
    }

    fn is_icmp_checksum_right(packet: &Packet<'_>, offset: u32) -> bool {
        packet.is_checksum_right4(offset, Proto::ICMP.0)
    }

    fn set_icmp_checksum(packet: &mut Packet<'_>, ip: &Ip4) -> Option<()> {
        let at = (ip.transport as usize).saturating_add(2);
        let field = at..at.saturating_add(2);
        packet.head_mut().get_mut(field.clone())?.fill(0);
        let sum = packet.checksum_from(ip.transport);
        let c = packet.head_mut().get_mut(field)?;
        c.copy_from_slice(&sum.to_ne_bytes());
        packet.set_checksum_right();
        Some(())
    }

    #[inline]
    fn partial(check: u16, old: &Addr, new: &Addr) -> u16 {
        checksum::partial4(check, old.v4_be(), new.v4_be())
    }

    #[inline]
    fn update(check: u16, old: &Endpoint, new: &Endpoint) -> u16 {
        let (from, to) = (old.addr.v4_be(), new.addr.v4_be());
        checksum::update4(check, from, to, old.port, new.port)
    }

    #[inline]
    fn update_udp(check: u16, old: &Endpoint, new: &Endpoint) -> Option<u16> {
        let (from, to) = (old.addr.v4_be(), new.addr.v4_be());
        checksum::update4_udp(check, from, to, old.port, new.port)
    }

    fn add_pseudo(sum: Sum, a: &Addr, b: &Addr, proto: Proto, len: u32) -> Sum {
        sum.add_pseudo4(a.v4_be(), b.v4_be(), proto.0, len)
    }
}
