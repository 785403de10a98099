// SPDX-License-Identifier: GPL-2.0
//! Sending packets to real servers.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_xmit.c

use crate::{
    ip_vs_conn::{Conn, ConnRef},
    ip_vs_ip::{Family, Ip},
    ip_vs_nfct,
    ip_vs_proto::{header_len, translate, End},
    ip_vs_svc::Dest,
};
use ipvs_logic::{addr::Addr, flags::FwdMethod};
use kernel::prelude::*;
use knet::{
    hook::Point,
    net::Net,
    rcu::{Arc, Rcu, Ref},
    route::{Path, Purpose},
    skb::{Packet, Verdict},
};

/// Where a forwarding method takes packets, and how it looks for the way.
pub(crate) struct Method {
    /// To servers on this host.
    local: bool,
    /// To servers elsewhere.
    remote: bool,
    /// To servers on this host when the packet was not on its way to this host.
    redirect: bool,
    /// How a way that nobody remembers is looked for.
    purpose: Purpose,
}

const NAT: Method = Method {
    local: true,
    remote: true,
    redirect: true,
    purpose: Purpose::Plain,
};
/// ICMP errors that pass through: not to servers on this host.
const NAT_FORWARD: Method = Method {
    local: false,
    redirect: false,
    ..NAT
};
const DIRECT: Method = Method {
    redirect: false,
    purpose: Purpose::NextHop,
    ..NAT
};
pub(crate) const TUNNEL: Method = Method {
    purpose: Purpose::BoundSource,
    ..DIRECT
};
const BYPASS: Method = Method {
    purpose: Purpose::Plain,
    local: false,
    ..DIRECT
};

/// Where a packet is to go.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The real server, which remembers the way to it; a backup director may not have it.
    pub(crate) dest: Option<&'a Dest>,
    /// The address.
    pub(crate) addr: &'a Addr,
}

impl<'a> Target<'a> {
    /// The server of a connection.
    #[inline]
    pub(crate) fn of(conn: &'a Conn) -> Self {
        Self {
            dest: conn.dest.as_deref(),
            addr: &conn.real.addr,
        }
    }
}

/// The way to a server: what it remembers, or a new one.
#[inline]
fn route_to<'g, F: Family>(
    net: &Net,
    target: Target<'_>,
    purpose: Purpose,
    rcu: Rcu<'g>,
) -> Option<Ref<'g, F::Route>> {
    if let Some(dest) = target.dest {
        if let Some(route) = F::route_slot(dest).load(rcu) {
            if route.is_current(net) {
                return Some(route);
            }
        }
    }
    find_route::<F>(net, target, purpose, rcu)
}

#[cold]
fn find_route<'g, F: Family>(
    net: &Net,
    target: Target<'_>,
    purpose: Purpose,
    rcu: Rcu<'g>,
) -> Option<Ref<'g, F::Route>> {
    let Some(dest) = target.dest else {
        // Nobody will remember it: RCU keeps it until the packet is on its way.
        let purpose = match purpose {
            Purpose::BoundSource => Purpose::Plain,
            p => p,
        };
        let route = F::find_route(net, target.addr, purpose).ok()?;
        return Some(Arc::as_ref_rcu(&route, rcu));
    };
    let route = match F::find_route(net, &dest.addr, purpose) {
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
    pub(crate) route: Option<Ref<'a, F::Route>>,
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
/// should be. Decrements the time to live, and makes the first `writable` bytes writable, with room
/// for the link layer header, if that is not 0. `R` is the family of the server's address.
#[inline]
pub(crate) fn take_route<'a, F: Family, R: Family>(
    packet: &mut Packet<'a>,
    ip: &Ip<F>,
    target: Target<'_>,
    method: &Method,
    rcu: Rcu<'a>,
    writable: u32,
) -> Result<Way<'a, R>> {
    let Some(route) = route_to::<R>(packet.net(), target, method.purpose, rcu) else {
        packet.link_failure();
        return Err(EHOSTUNREACH);
    };
    if route.is_local() {
        if !method.local || !(method.redirect || F::is_route_local(packet)) {
            return Err(EINVAL);
        }
        return Ok(Way {
            route: None,
            headroom: 0,
        });
    }
    if !method.remote || F::is_from_loopback(ip, packet) {
        return Err(EINVAL);
    }
    if ip.ttl <= 1 {
        F::send_time_exceeded(packet);
        return Err(EHOSTUNREACH);
    }
    let mut headroom = 0;
    if writable != 0 {
        headroom = route.header_room(rcu);
        packet.make_writable(writable, headroom)?;
    }
    F::decrement_ttl(ip, packet)?;
    Ok(Way {
        route: Some(route),
        headroom,
    })
}

/// Whether the packet fits in its way out; if not, the sender is told. IPv4 splits those about
/// errors.
#[inline]
fn fits<F: Family>(
    packet: &mut Packet<'_>,
    ip: &Ip<F>,
    way: &Way<'_, F>,
    rcu: Rcu<'_>,
    is_icmp: bool,
) -> bool {
    let Some(route) = way.route else {
        return true;
    };
    !F::must_fit(ip, is_icmp) || F::check_mtu(ip, packet, route.mtu(rcu), is_icmp)
}

/// Sends a packet of the client to where the connection leads; `is_icmp`: it is an error about one
/// that needs no translation.
#[inline]
pub fn forward<'a, F: Family>(
    packet: Packet<'a>,
    ip: &Ip<F>,
    conn: ConnRef<'a>,
    rcu: Rcu<'a>,
    is_icmp: bool,
) -> Verdict<'a> {
    match conn.method() {
        Some(FwdMethod::Masq) => nat(packet, ip, conn, rcu, true),
        Some(FwdMethod::DRoute) => {
            let target = Target::of(conn.value());
            as_is(packet, ip, conn.value(), target, &DIRECT, rcu, is_icmp)
        }
        Some(FwdMethod::Bypass) => {
            let target = Target {
                dest: None,
                addr: &ip.dst,
            };
            as_is(packet, ip, conn.value(), target, &BYPASS, rcu, is_icmp)
        }
        Some(FwdMethod::Tunnel) => F::tunnel(packet, ip, conn.value(), rcu, is_icmp),
        Some(FwdMethod::Local) => local(packet, conn.value()),
        // Configuration takes numbers that mean nothing.
        None => packet.accept(),
    }
}

/// The same with a packet of another protocol than the connection's, which has no ports.
#[cold]
pub fn forward_related<'a, F: Family>(
    packet: Packet<'a>,
    ip: &Ip<F>,
    conn: ConnRef<'a>,
    rcu: Rcu<'a>,
) -> Verdict<'a> {
    match conn.method() {
        Some(FwdMethod::Masq) => nat(packet, ip, conn, rcu, false),
        _ => forward(packet, ip, conn, rcu, false),
    }
}

/// Translates a packet of the client, with the port or without, and sends it to the real server.
#[inline(always)]
fn nat<'a, F: Family>(
    mut packet: Packet<'a>,
    ip: &Ip<F>,
    conn: ConnRef<'a>,
    rcu: Rcu<'a>,
    has_ports: bool,
) -> Verdict<'a> {
    let len = if has_ports { header_len(conn.proto) } else { 0 };
    let header_end = ip.transport.saturating_add(len);
    // A packet that is too short for its header gets as far as it does in stock.
    let writable = header_end.min(packet.len());
    let target = Target::of(conn.value());
    let Ok(way) = take_route(&mut packet, ip, target, &NAT, rcu, writable) else {
        return packet.free();
    };
    if !fits(&mut packet, ip, &way, rcu, false) {
        return packet.free();
    }
    // From outside, to a loopback address: never.
    if way.is_local() && F::is_foreign_to(&packet, &conn.real.addr) {
        return packet.free();
    }
    if packet.make_writable(header_end, way.headroom).is_err() {
        return packet.free();
    }
    if has_ports {
        translate::<F>(
            &mut packet,
            conn.proto,
            ip.transport,
            End::Dst,
            &conn.virt,
            &conn.real,
            &conn.client.addr,
        );
    }
    ip.set_addr(&mut packet, End::Dst, &conn.real.addr);
    send_translated(packet, conn.value(), &way, rcu)
}

/// Sends a packet as it is: to the real server's place on the link, or past all servers.
#[inline]
fn as_is<'a, F: Family>(
    mut packet: Packet<'a>,
    ip: &Ip<F>,
    conn: &Conn,
    target: Target<'_>,
    method: &Method,
    rcu: Rcu<'a>,
    is_icmp: bool,
) -> Verdict<'a> {
    let Ok(way) = take_route(&mut packet, ip, target, method, rcu, 0) else {
        return packet.free();
    };
    if !fits(&mut packet, ip, &way, rcu, is_icmp) {
        return packet.free();
    }
    let Some(route) = way.route else {
        return local(packet, conn);
    };
    packet.set_ignore_df();
    packet.set_handled();
    ip_vs_nfct::as_is(&mut packet, conn);
    if packet.has_dev() {
        packet.orphan();
    }
    F::send(packet, route, rcu)
}

/// Sends a packet that was translated for the real server of a connection.
// Calls on the way of each packet cost 15 instructions of it: what ends that way is inline, too.
#[inline(always)]
pub fn send_translated<'a, F: Family>(
    mut packet: Packet<'a>,
    conn: &Conn,
    way: &Way<'_, F>,
    rcu: Rcu<'_>,
) -> Verdict<'a> {
    packet.set_ignore_df();
    packet.set_handled();
    ip_vs_nfct::request(&mut packet, conn);
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
    conn: &Conn,
    rcu: Rcu<'a>,
    writable: u32,
    point: Point,
) -> Result<Way<'a, F>> {
    let method = if point == Point::Forward {
        &NAT_FORWARD
    } else {
        &NAT
    };
    let way = take_route(packet, ip, Target::of(conn), method, rcu, writable)?;
    if !fits(packet, ip, &way, rcu, true) {
        return Err(EMSGSIZE);
    }
    Ok(way)
}

/// Lets a packet go on to a service of this host.
pub(crate) fn local<'a>(mut packet: Packet<'a>, conn: &Conn) -> Verdict<'a> {
    packet.set_handled();
    ip_vs_nfct::as_is(&mut packet, conn);
    packet.accept()
}
