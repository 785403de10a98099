// SPDX-License-Identifier: GPL-2.0
//! Sending packets to real servers.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_xmit.c

use crate::{
    ip_vs_conn::{Conn, ConnRef},
    ip_vs_ip::{Family, Ip},
    ip_vs_proto::{header_len, translate, End},
    ip_vs_svc::Dest,
};
use kernel::prelude::*;
use knet::{
    hook::Point,
    net::Net,
    rcu::{Arc, Rcu, Ref},
    route::Path,
    skb::{Packet, Verdict},
};

/// The way to a server: what it remembers, or a new one.
#[inline]
fn route_to<'g, F: Family>(net: &Net, dest: &Dest, rcu: Rcu<'g>) -> Option<Ref<'g, F::Route>> {
    match F::route_slot(dest).load(rcu) {
        Some(route) if route.is_current(net) => Some(route),
        _ => find_route::<F>(net, dest, rcu),
    }
}

#[cold]
fn find_route<'g, F: Family>(net: &Net, dest: &Dest, rcu: Rcu<'g>) -> Option<Ref<'g, F::Route>> {
    let route = match F::find_route(net, &dest.addr) {
        Ok(r) => r,
        Err(_) => {
            dest.reset_route();
            return None;
        }
    };
    let kept = Arc::as_ref_rcu(&route, rcu);
    // A server in the trash must not hold a device, nor may anyone hold one that goes down. Who
    // makes either so clears the route after; we look again after we put it in.
    F::route_slot(dest).swap(Some(route));
    if !dest.is_available() || kept.is_dev_down(rcu) {
        dest.reset_route();
    }
    Some(kept)
}

/// What there is to know about the way out after [`take_route`].
pub struct Way<'a, F: Family> {
    /// The way out; none if the packet stays on this host, with the route it had.
    route: Option<Ref<'a, F::Route>>,
    /// Room for the link layer header.
    pub headroom: u32,
}

impl<F: Family> Way<'_, F> {
    /// Whether the packet stays on this host.
    pub fn is_local(&self) -> bool {
        self.route.is_none()
    }
}

/// Finds the packet's way to the server. `Err` if it cannot go there: the sender was told if it
/// should be. Decrements the time to live.
#[inline]
fn take_route<'a, F: Family>(
    packet: &mut Packet<'a>,
    ip: &Ip<F>,
    dest: &Dest,
    rcu: Rcu<'a>,
    writable: u32,
    is_icmp: bool,
) -> Result<Way<'a, F>> {
    let Some(route) = route_to::<F>(packet.net(), dest, rcu) else {
        packet.link_failure();
        return Err(EHOSTUNREACH);
    };
    if route.is_local() {
        return Ok(Way {
            route: None,
            headroom: 0,
        });
    }
    if F::is_from_loopback(ip, packet) {
        return Err(EINVAL);
    }
    if ip.ttl <= 1 {
        F::send_time_exceeded(packet);
        return Err(EHOSTUNREACH);
    }
    let headroom = route.header_room(rcu);
    packet.make_writable(writable, headroom)?;
    F::decrement_ttl(ip, packet);
    if F::must_fit(ip, is_icmp) && !F::check_mtu(ip, packet, route.mtu(rcu), is_icmp) {
        return Err(EMSGSIZE);
    }
    Ok(Way {
        route: Some(route),
        headroom,
    })
}

/// Translates a packet of the client and sends it to the real server.
#[inline]
pub fn nat<'a, F: Family>(
    mut packet: Packet<'a>,
    ip: &Ip<F>,
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
    if way.is_local() && F::is_foreign_to(&packet, &conn.real.addr) {
        return packet.free();
    }
    if packet.make_writable(header_end, way.headroom).is_err() {
        return packet.free();
    }
    translate::<F>(
        &mut packet,
        conn.proto,
        ip.transport,
        End::Dst,
        &conn.virt,
        &conn.real,
        &conn.client.addr,
    );
    ip.set_addr(&mut packet, End::Dst, &conn.real.addr);
    send_translated(packet, conn.value(), &way, rcu)
}

/// Sends a packet that was translated for the real server of a connection.
#[inline]
pub fn send_translated<'a, F: Family>(
    mut packet: Packet<'a>,
    conn: &Conn,
    way: &Way<'_, F>,
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
        Some(route) => F::send(packet, route, rcu),
    }
}

/// Finds an ICMP error's way to the server. Servers on this host are not for what passes
/// through.
pub fn route_icmp<'a, F: Family>(
    packet: &mut Packet<'a>,
    ip: &Ip<F>,
    dest: &Dest,
    rcu: Rcu<'a>,
    writable: u32,
    point: Point,
) -> Result<Way<'a, F>> {
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
