// SPDX-License-Identifier: GPL-2.0
//! IPv6.
//!
//! C counterparts: net/netfilter/ipvs/ip_vs_core.c, ip_vs_xmit.c

use super::{v4::V4, Family, Ip};
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
    ipv6::Chain,
};
use kernel::prelude::*;
use knet::{
    hook::Point,
    net::Net,
    rcu::{Arc, Rcu, Ref, Slot},
    route::Purpose,
    route6::Route6,
    skb::{Packet, Verdict},
};

/// ICMPv6: what cannot be delivered, and why.
mod icmp6 {
    /// Destination unreachable.
    pub(super) const DEST_UNREACH: u8 = 1;
    /// It has no such port.
    pub(super) const PORT_UNREACH: u8 = 4;
    /// It is too long.
    pub(super) const PKT_TOOBIG: u8 = 2;
    /// Types from here on are not errors.
    pub(super) const INFO: u8 = 128;
}

/// Length of the header.
const LEN: u32 = 40;

/// The family of IPv6.
#[derive(Clone, Copy)]
pub struct V6;

/// An IPv6 header, with the extension headers that follow it.
pub type Ip6 = Ip<V6>;

/// Goes along the extension headers.
#[cold]
fn skip_extensions(packet: &Packet<'_>, mut chain: Chain) -> Option<Chain> {
    while !chain.is_end() {
        let header = if chain.needs() > 2 {
            packet.read::<4>(chain.at)?
        } else {
            let [a, b] = packet.read::<2>(chain.at)?;
            [a, b, 0, 0]
        };
        chain = chain.next(header, packet.len())?;
    }
    Some(chain)
}

#[inline]
fn address<const N: usize>(header: &[u8; N], at: usize) -> Option<Addr> {
    let bytes = header.get(at..)?.first_chunk::<16>()?;
    Some(Addr::from_bytes16(*bytes))
}

impl Family for V6 {
    const AF: Af = Af::Inet6;
    const ICMP: Proto = Proto::ICMPV6;
    type Route = Route6;

    #[inline]
    fn read(packet: &Packet<'_>, offset: u32) -> Option<Ip6> {
        let h = packet.read::<{ LEN as usize }>(offset)?;
        let [version, _, _, _, _, _, kind, ttl, ..] = h;
        let mut chain = Chain::new(kind, offset.checked_add(LEN)?);
        if !chain.is_end() {
            chain = skip_extensions(packet, chain)?;
        }
        Some(Ip6 {
            offset,
            transport: chain.at,
            src: address(&h, 8)?,
            dst: address(&h, 24)?,
            proto: chain.proto(),
            ttl,
            dont_fragment: true,
            is_fragment: chain.is_fragment,
            is_later_fragment: chain.is_later_fragment,
            is_sane: version >> 4 == 6,
            family: V6,
        })
    }

    #[inline]
    fn set_addr(ip: &Ip6, packet: &mut Packet<'_>, end: End, addr: &Addr) {
        let field = if end == End::Src { 8 } else { 24 };
        let at = (ip.offset as usize).saturating_add(field);
        if let Some(f) = packet.head_mut().get_mut(at..at.saturating_add(16)) {
            f.copy_from_slice(&addr.to_bytes16());
        }
    }

    #[inline]
    fn decrement_ttl(ip: &Ip6, packet: &mut Packet<'_>) -> Result {
        let at = (ip.offset as usize).saturating_add(7);
        // Nothing can be changed here that others may see.
        match packet.head_mut().get_mut(at) {
            Some(ttl) => {
                *ttl = ttl.wrapping_sub(1);
                Ok(())
            }
            None => packet.decrement_ttl6(),
        }
    }

    /// What arrives or is sent in parts is put together before our hooks, by nf_defrag_ipv6. What
    /// is left is a first part, which has all that counts, or nothing to tell whose it is.
    fn gather<'a>(packet: Packet<'a>, ip: &Ip6, _point: Point) -> Result<Packet<'a>, Verdict<'a>> {
        if ip.is_later_fragment {
            return Err(packet.accept());
        }
        Ok(packet)
    }

    #[inline]
    fn route_slot(dest: &Dest) -> &Slot<Route6> {
        &dest.route6
    }

    fn find_route(net: &Net, addr: &Addr, purpose: Purpose) -> Result<Arc<Route6>> {
        Route6::lookup(net, addr.words(), purpose)
    }

    fn is_route_local(packet: &Packet<'_>) -> bool {
        packet.is_route_loopback()
    }

    /// Stock takes addresses of this host for others, too.
    fn is_other_host(_net: &Net, addr: &Addr) -> bool {
        addr.is_unicast6()
    }

    fn tunnel<'a>(
        packet: Packet<'a>,
        ip: &Ip6,
        conn: &'a Conn,
        rcu: Rcu<'a>,
        is_icmp: bool,
    ) -> Verdict<'a> {
        match conn.real_af {
            Af::Inet => ip_vs_tunnel::send::<V6, V4>(packet, ip, conn, rcu, is_icmp),
            Af::Inet6 => ip_vs_tunnel::send::<V6, V6>(packet, ip, conn, rcu, is_icmp),
        }
    }

    /// Stock looks into no tunnels of IPv6.
    fn about(_ns: NsRef<'_>, _rcu: Rcu<'_>, _packet: &Packet<'_>, _quoted: &Ip6) -> About {
        About::Plain
    }

    fn relay<'a>(
        _ns: NsRef<'a>,
        _rcu: Rcu<'a>,
        packet: Packet<'a>,
        _error: &Error<V6>,
        _request: &Inner<V6>,
        _conn: &Conn,
    ) -> Verdict<'a> {
        packet.accept()
    }

    #[inline(always)]
    fn send<'a>(packet: Packet<'a>, route: Ref<'_, Route6>, rcu: Rcu<'_>) -> Verdict<'a> {
        packet.send6(route, rcu)
    }

    #[inline]
    fn reroute(packet: &mut Packet<'_>) -> Result {
        packet.reroute6()
    }

    #[inline]
    fn is_from_loopback(ip: &Ip6, packet: &Packet<'_>) -> bool {
        ip.src.is_loopback6() && packet.is_from_local()
    }

    #[inline]
    fn is_foreign_to(packet: &Packet<'_>, addr: &Addr) -> bool {
        addr.is_loopback6() && !packet.is_from_local()
    }

    #[inline]
    fn must_fit(_ip: &Ip6, _is_icmp: bool) -> bool {
        true
    }

    /// Of what was put together, each part must fit.
    #[inline]
    fn check_mtu(ip: &Ip6, packet: &mut Packet<'_>, mtu: u32, is_icmp: bool) -> bool {
        let fits = match packet.largest_part6() {
            0 => !packet.exceeds_mtu(mtu),
            part => part <= mtu,
        };
        if !fits && !is_icmp && !ip.is_later_fragment {
            packet.send_icmp6(icmp6::PKT_TOOBIG, 0, mtu);
        }
        fits
    }

    fn send_port_unreachable(packet: &mut Packet<'_>) {
        packet.send_icmp6(icmp6::DEST_UNREACH, icmp6::PORT_UNREACH, 0);
    }

    fn send_time_exceeded(packet: &mut Packet<'_>) {
        packet.send_hop_limit_exceeded6();
    }

    fn is_icmp_error(kind: u8) -> bool {
        kind < icmp6::INFO
    }

    fn is_icmp_checksum_right(packet: &Packet<'_>, offset: u32) -> bool {
        packet.is_checksum_right6(offset, Proto::ICMPV6.0)
    }

    /// Leaves the sum of the data to the device, as stock does.
    fn set_icmp_checksum(packet: &mut Packet<'_>, ip: &Ip6) -> Option<()> {
        let now = Ip6::read(packet, ip.offset)?;
        let len = packet.len().checked_sub(ip.transport)?;
        let sum = Sum::ZERO
            .add_pseudo6(&now.src, &now.dst, Proto::ICMPV6.0, len)
            .fold();
        let at = (ip.transport as usize).saturating_add(2);
        let field = packet.head_mut().get_mut(at..at.saturating_add(2))?;
        field.copy_from_slice(&sum.to_ne_bytes());
        packet.set_checksum_partial(ip.transport, 2);
        Some(())
    }

    #[inline]
    fn partial(check: u16, old: &Addr, new: &Addr) -> u16 {
        checksum::partial6(check, old, new)
    }

    #[inline]
    fn update(check: u16, old: &Endpoint, new: &Endpoint) -> u16 {
        checksum::update6(check, &old.addr, &new.addr, old.port, new.port)
    }

    #[inline]
    fn update_udp(check: u16, old: &Endpoint, new: &Endpoint) -> Option<u16> {
        checksum::update6_udp(check, &old.addr, &new.addr, old.port, new.port)
    }

    fn add_pseudo(sum: Sum, a: &Addr, b: &Addr, proto: Proto, len: u32) -> Sum {
        sum.add_pseudo6(a, b, proto.0, len)
    }
}
