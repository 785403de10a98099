// SPDX-License-Identifier: GPL-2.0
//! ICMP errors about packets of connections: they go where the packet went, and carry the addresses
//! that the receiver knows.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_core.c, `ip_vs_in_icmp()` and `ip_vs_out_icmp()`

use crate::{
    ip_vs_conn::{self as conn, Conn, ConnRef, Direction},
    ip_vs_ip::{Family, Ip},
    ip_vs_ns::NsRef,
    ip_vs_proto::{End, Transport},
    ip_vs_svc::{count_in, count_out},
    ip_vs_xmit as xmit,
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
struct Inner<F> {
    /// Its header.
    ip: Ip<F>,
    /// Its ports.
    ports: Transport,
}

impl<F: Family> Inner<F> {
    /// Of the ICMP packet with this header; `None` if it is not about a packet of ours.
    fn read(packet: &Packet<'_>, outer: &Ip<F>) -> Option<Self> {
        let ip = Ip::read(packet, outer.transport.checked_add(ICMP_LEN)?)?;
        let known = ip.proto == Proto::TCP || ip.proto == Proto::UDP;
        if !ip.is_sane || !known || ip.is_later_fragment {
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
pub fn packet_at<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    mut packet: Packet<'a>,
    mut ip: Ip<F>,
    point: Point,
) -> Verdict<'a> {
    if ip.is_fragment {
        packet = match F::gather(packet, &ip, point) {
            Ok(p) => p,
            Err(verdict) => return verdict,
        };
        match Ip::read(&packet, packet.network_offset()) {
            Some(whole) => ip = whole,
            None => return packet.accept(),
        }
    }
    let Some([kind, ..]) = packet.read::<{ ICMP_LEN as usize }>(ip.transport) else {
        return packet.drop();
    };
    if !F::is_icmp_error(kind) {
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

/// An error about a request, from the side of the real server: to the client, from the virtual
/// address.
fn from_server<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    mut packet: Packet<'a>,
    ip: &Ip<F>,
    inner: &Inner<F>,
    c: ConnRef<'a>,
    point: Point,
) -> Verdict<'a> {
    let cv = c.value();
    if !F::is_icmp_checksum_right(&packet, ip.transport)
        || packet.make_writable(inner.end(), 0).is_err()
    {
        return packet.drop();
    }
    if !translate(&mut packet, ip, inner, End::Src, &cv.virt) {
        return packet.drop();
    }
    if point != Point::LocalIn
        && ns.value().sysctl.snat_reroute.load(Ordering::Relaxed) != 0
        && F::reroute(&mut packet).is_err()
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
fn from_client<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: Packet<'a>,
    ip: &Ip<F>,
    inner: &Inner<F>,
    c: ConnRef<'a>,
    point: Point,
) -> Verdict<'a> {
    let cv: &'a Conn = c.value();
    let translated = cv.method() == Some(FwdMethod::Masq);
    if translated && !F::is_icmp_checksum_right(&packet, ip.transport) {
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
    if way.is_local() && F::is_foreign_to(&packet, &cv.real.addr) {
        return packet.free();
    }
    if packet.make_writable(inner.end(), way.headroom).is_err()
        || !translate(&mut packet, ip, inner, End::Dst, &cv.real)
    {
        return packet.free();
    }
    xmit::send_translated(packet, cv, &way, rcu)
}

/// Puts `new` at `end` of the packet, and at the other end of the one it is about.
fn translate<F: Family>(
    packet: &mut Packet<'_>,
    ip: &Ip<F>,
    inner: &Inner<F>,
    end: End,
    new: &Endpoint,
) -> bool {
    // The header could have changed between looking at it and making it writable, if it was in a
    // page that others can write to.
    let again = Ip::<F>::read(packet, inner.ip.offset);
    if again.is_none_or(|a| a.transport != inner.ip.transport) {
        return false;
    }
    let other = match end {
        End::Src => End::Dst,
        End::Dst => End::Src,
    };
    ip.set_addr(packet, end, &new.addr);
    inner.ip.set_addr(packet, other, &new.addr);
    let port = inner.ip.transport as usize + if other == End::Dst { 2 } else { 0 };
    let Some(p) = packet.head_mut().get_mut(port..port + 2) else {
        return false;
    };
    p.copy_from_slice(&new.port.be().to_ne_bytes());
    F::set_icmp_checksum(packet, ip).is_some()
}
