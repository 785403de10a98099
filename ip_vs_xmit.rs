// SPDX-License-Identifier: GPL-2.0
//! Sending packets to real servers.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_xmit.c

use crate::{
    ip_vs_conn::{Conn, ConnRef},
    ip_vs_core::Ip4,
    ip_vs_proto::{header_len, translate, End},
    ip_vs_svc::Dest,
};
use ipvs_logic::checksum;
use kernel::prelude::*;
use knet::{
    hook::Point,
    net::Net,
    rcu::{Arc, Rcu, Ref},
    route::Route,
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

/// The way to a server: what it remembers, or a new one.
#[inline]
fn route_to<'g>(net: &Net, dest: &Dest, rcu: Rcu<'g>) -> Option<Ref<'g, Route>> {
    match dest.route.load(rcu) {
        Some(route) if route.is_current(net) => Some(route),
        _ => find_route(net, dest, rcu),
    }
}

#[cold]
fn find_route<'g>(net: &Net, dest: &Dest, rcu: Rcu<'g>) -> Option<Ref<'g, Route>> {
    let route = match Route::lookup(net, dest.addr.v4_be(), false) {
        Ok(r) => r,
        Err(_) => {
            dest.reset_route();
            return None;
        }
    };
    let kept = Arc::as_ref_rcu(&route, rcu);
    // A server in the trash must not hold a device, nor may anyone hold one that goes down. Who
    // makes either so clears the route after; we look again after we put it in.
    dest.route.swap(Some(route));
    if !dest.is_available() || kept.is_dev_down(rcu) {
        dest.reset_route();
    }
    Some(kept)
}

/// What there is to know about the way out after [`take_route`].
pub struct Way<'a> {
    /// The way out; none if the packet stays on this host, with the route it had.
    route: Option<Ref<'a, Route>>,
    /// The packet came from outside.
    pub was_input: bool,
    /// Room for the link layer header.
    pub headroom: u32,
}

impl Way<'_> {
    /// Whether the packet stays on this host.
    pub fn is_local(&self) -> bool {
        self.route.is_none()
    }
}

/// Finds the packet's way to the server. `Err` if it cannot go there: the sender was told if it
/// should be. Decrements the time to live. IPv4.
#[inline]
fn take_route<'a>(
    packet: &mut Packet<'a>,
    ip: &Ip4,
    dest: &Dest,
    rcu: Rcu<'a>,
    writable: u32,
    is_icmp: bool,
) -> Result<Way<'a>> {
    let was_input = packet.is_route_input();
    let Some(route) = route_to(packet.net(), dest, rcu) else {
        packet.link_failure();
        return Err(EHOSTUNREACH);
    };
    if route.is_local() {
        return Ok(Way {
            route: None,
            was_input,
            headroom: 0,
        });
    }
    if ip.src.is_loopback4() {
        return Err(EINVAL);
    }
    if ip.ttl <= 1 {
        packet.count_header_error4();
        packet.send_icmp4(icmp::TIME_EXCEEDED, icmp::EXC_TTL, 0);
        return Err(EHOSTUNREACH);
    }
    let headroom = route.header_room(rcu);
    packet.make_writable(writable, headroom)?;
    ip.decrement_ttl(packet);
    if ip.dont_fragment && !is_icmp && !check_mtu(packet, route.value(), rcu) {
        return Err(EMSGSIZE);
    }
    Ok(Way {
        route: Some(route),
        was_input,
        headroom,
    })
}

/// Whether the packet fits; if not, the sender is told.
#[inline]
fn check_mtu(packet: &Packet<'_>, route: &Route, rcu: Rcu<'_>) -> bool {
    let mtu = route.mtu(rcu);
    if !packet.exceeds_mtu(mtu) {
        return true;
    }
    packet.send_icmp4(icmp::DEST_UNREACH, icmp::FRAG_NEEDED, mtu.to_be());
    false
}

/// Translates a packet of the client and sends it to the real server. IPv4.
#[inline]
pub fn nat<'a>(
    mut packet: Packet<'a>,
    ip: &Ip4,
    conn: ConnRef<'a>,
    dest: &Dest,
    rcu: Rcu<'a>,
) -> Verdict<'a> {
    let header_end = ip.transport.saturating_add(header_len(conn.proto));
    // A packet that is too short for its header gets as far as it does in stock.
    let writable = header_end.min(packet.len());
    let Ok(way) = take_route(&mut packet, ip, dest, rcu, writable, false) else {
        return packet.free();
    };
    // From outside, to a loopback address: never.
    if way.is_local() && way.was_input && conn.real.addr.is_loopback4() {
        return packet.free();
    }
    if packet.make_writable(header_end, way.headroom).is_err() {
        return packet.free();
    }
    translate(
        &mut packet,
        conn.proto,
        ip.transport,
        End::Dst,
        &conn.virt,
        &conn.real,
        conn.client.addr.v4_be(),
    );
    ip.set_addr(&mut packet, End::Dst, conn.real.addr.v4_be());
    send_translated(packet, conn.value(), &way, rcu)
}

/// Sends a packet that was translated for the real server of a connection.
#[inline]
pub fn send_translated<'a>(
    mut packet: Packet<'a>,
    conn: &Conn,
    way: &Way<'_>,
    rcu: Rcu<'_>,
) -> Verdict<'a> {
    packet.set_ignore_df();
    packet.set_handled();
    packet.untrack();
    // A socket that was found for the old address is not that of the new one.
    if (!way.is_local() || conn.virt != conn.real) && packet.has_dev() {
        packet.orphan();
    }
    match way.route {
        None => packet.accept(),
        Some(route) => packet.send4(route, rcu),
    }
}

/// Finds an ICMP error's way to the server. Servers on this host are not for what passes
/// through.
pub fn route_icmp<'a>(
    packet: &mut Packet<'a>,
    ip: &Ip4,
    dest: &Dest,
    rcu: Rcu<'a>,
    writable: u32,
    point: Point,
) -> Result<Way<'a>> {
    let way = take_route(packet, ip, dest, rcu, writable, true)?;
    if way.is_local() && point == Point::Forward {
        return Err(EINVAL);
    }
    Ok(way)
}

/// Lets a packet go on to a service of this host.
pub fn local(mut packet: Packet<'_>) -> Verdict<'_> {
    packet.set_handled();
    packet.untrack();
    packet.accept()
}

impl Ip4 {
    /// Decrements the time to live; the header is writable.
    #[inline]
    fn decrement_ttl(&self, packet: &mut Packet<'_>) {
        let at = self.offset as usize;
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
        }
    }

    /// Changes an address and computes the header's checksum; the header is writable.
    #[inline]
    pub fn set_addr(&self, packet: &mut Packet<'_>, end: End, addr: u32) {
        let at = self.offset as usize;
        let field = if end == End::Src { 12 } else { 16 };
        let len = self.header_len() as usize;
        let Some(h) = packet.head_mut().get_mut(at..at.saturating_add(len)) else {
            return;
        };
        if let Some(f) = h.get_mut(field..field + 4) {
            f.copy_from_slice(&addr.to_ne_bytes());
        }
        if let Some(c) = h.get_mut(10..12) {
            c.fill(0);
        }
        let check = checksum::ipv4_header(h);
        if let Some(c) = h.get_mut(10..12) {
            c.copy_from_slice(&check.to_ne_bytes());
        }
    }
}
