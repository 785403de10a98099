// SPDX-License-Identifier: GPL-2.0
//! ICMP errors about packets of connections: they go where the packet went, and carry the addresses
//! that the receiver knows.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_core.c, `ip_vs_in_icmp()` and `ip_vs_out_icmp()`

use crate::{
    ip_vs_conn::{self as conn, Conn, ConnRef, Direction},
    ip_vs_core::{defrag_user, Ip4},
    ip_vs_ns::NsRef,
    ip_vs_proto::{End, Transport},
    ip_vs_svc::{count_in, count_out},
    ip_vs_xmit::{self as xmit, icmp},
};
use core::sync::atomic::Ordering;
use ipvs_logic::{
    addr::{Endpoint, Proto},
    flags::FwdMethod,
};
use knet::{
    hook::Point,
    rcu::Rcu,
    skb::{Packet, Verdict},
};

/// Length of an ICMP header.
const ICMP_LEN: u32 = 8;

/// The packet that an ICMP error is about.
struct Inner {
    /// Its header.
    ip: Ip4,
    /// Its ports.
    ports: Transport,
}

impl Inner {
    /// Of the ICMP packet with this header; `None` if it is not about a packet of ours.
    fn read(packet: &Packet<'_>, outer: &Ip4) -> Option<Self> {
        let ip = Ip4::read(packet, outer.transport.checked_add(ICMP_LEN)?)?;
        let known = ip.proto == Proto::TCP || ip.proto == Proto::UDP;
        if ip.version != 4 || ip.header_len() < 20 || !known || ip.is_later_fragment {
            return None;
        }
        let ports = Transport::read_ports(packet, ip.transport)?;
        Some(Self { ip, ports })
    }

    /// Where its ports end.
    fn end(&self) -> u32 {
        self.ip.transport.saturating_add(4)
    }
}

/// An ICMP packet, at one of the hooks.
#[cold]
pub fn ipv4<'a>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    mut packet: Packet<'a>,
    mut ip: Ip4,
    point: Point,
) -> Verdict<'a> {
    if ip.is_fragment {
        packet = match packet.defrag4(defrag_user(point)) {
            Ok(p) => p,
            Err(verdict) => return verdict,
        };
        match Ip4::read(&packet, packet.network_offset()) {
            Some(whole) => ip = whole,
            None => return packet.accept(),
        }
    }
    let Some([kind, ..]) = packet.read::<{ ICMP_LEN as usize }>(ip.transport) else {
        return packet.drop();
    };
    if !matches!(
        kind,
        icmp::DEST_UNREACH | icmp::SOURCE_QUENCH | icmp::TIME_EXCEEDED
    ) {
        return packet.accept();
    }
    let Some(inner) = Inner::read(&packet, &ip) else {
        return packet.accept();
    };
    // The packet went the other way: what it says of a request comes from where the server is.
    let tuple = inner.ip.tuple(&inner.ports);
    match conn::lookup(ns, rcu, &tuple.swapped()) {
        Some((c, Direction::Out)) => from_server(ns, rcu, packet, &ip, &inner, c, point),
        Some((c, Direction::In)) if takes_errors(&packet, point) => {
            from_client(ns, rcu, packet, &ip, &inner, c, point)
        }
        _ => packet.accept(),
    }
}

/// Errors from clients: also those that pass through, but not what is only overheard.
fn takes_errors(packet: &Packet<'_>, point: Point) -> bool {
    point != Point::LocalIn || packet.is_for_host()
}

fn right_checksum(packet: &Packet<'_>, ip: &Ip4) -> bool {
    packet.is_checksum_right4(ip.transport, Proto::ICMP.0)
}

/// An error about a request, from the side of the real server: to the client, from the virtual
/// address.
fn from_server<'a>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    mut packet: Packet<'a>,
    ip: &Ip4,
    inner: &Inner,
    c: ConnRef<'a>,
    point: Point,
) -> Verdict<'a> {
    let cv = c.value();
    if !right_checksum(&packet, ip) || packet.make_writable(inner.end(), 0).is_err() {
        return packet.drop();
    }
    if !translate(&mut packet, ip, inner, End::Src, &cv.virt) {
        return packet.drop();
    }
    if point != Point::LocalIn
        && ns.value().sysctl.snat_reroute.load(Ordering::Relaxed) != 0
        && packet.reroute().is_err()
    {
        return packet.drop();
    }
    if let Some(dest) = &cv.dest {
        count_out(ns.value(), dest, rcu, packet.len());
    }
    packet.set_handled();
    packet.untrack();
    packet.accept()
}

/// An error about a reply, from the side of the client: to the real server.
fn from_client<'a>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: Packet<'a>,
    ip: &Ip4,
    inner: &Inner,
    c: ConnRef<'a>,
    point: Point,
) -> Verdict<'a> {
    let cv: &'a Conn = c.value();
    let translated = cv.method() == Some(FwdMethod::Masq);
    if translated && !right_checksum(&packet, ip) {
        return packet.drop();
    }
    let Some(dest) = &cv.dest else {
        return packet.accept();
    };
    count_in(ns.value(), dest, rcu, packet.len());
    if !translated {
        return xmit::local(packet);
    }
    let mut packet = packet;
    let way = match xmit::route_icmp(&mut packet, ip, dest, rcu, inner.end(), point) {
        Ok(way) => way,
        Err(_) => return packet.free(),
    };
    if way.is_local() && packet_goes_to_loopback(cv) && way.was_input {
        return packet.free();
    }
    if packet.make_writable(inner.end(), way.headroom).is_err()
        || !translate(&mut packet, ip, inner, End::Dst, &cv.real)
    {
        return packet.free();
    }
    xmit::send_translated(packet, cv, &way, rcu)
}

fn packet_goes_to_loopback(cv: &Conn) -> bool {
    cv.real.addr.is_loopback4()
}

/// Puts `new` at `end` of the packet, and at the other end of the one it is about.
fn translate(packet: &mut Packet<'_>, ip: &Ip4, inner: &Inner, end: End, new: &Endpoint) -> bool {
    // The header could have changed between looking at it and making it writable, if it was in a
    // page that others can write to.
    let again = Ip4::read(packet, inner.ip.offset);
    if again.is_none_or(|a| a.transport != inner.ip.transport) {
        return false;
    }
    let other = match end {
        End::Src => End::Dst,
        End::Dst => End::Src,
    };
    ip.set_addr(packet, end, new.addr.v4_be());
    inner.ip.set_addr(packet, other, new.addr.v4_be());
    let port = inner.ip.transport as usize + if other == End::Dst { 2 } else { 0 };
    let Some(p) = packet.head_mut().get_mut(port..port + 2) else {
        return false;
    };
    p.copy_from_slice(&new.port.be().to_ne_bytes());
    set_checksum(packet, ip.transport)
}

/// Computes the ICMP checksum.
fn set_checksum(packet: &mut Packet<'_>, offset: u32) -> bool {
    let at = (offset as usize).saturating_add(2);
    let Some(c) = packet.head_mut().get_mut(at..at.saturating_add(2)) else {
        return false;
    };
    c.fill(0);
    let sum = packet.checksum_from(offset);
    if let Some(c) = packet.head_mut().get_mut(at..at.saturating_add(2)) {
        c.copy_from_slice(&sum.to_ne_bytes());
    }
    packet.set_checksum_right();
    true
}
