// SPDX-License-Identifier: GPL-2.0
//! ICMP errors about packets of connections: they go where the packet went, and carry the addresses
//! that the receiver knows.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_core.c, `ip_vs_in_icmp()` and `ip_vs_out_icmp()`

use crate::{
    ip_vs_conn::{self as conn, Conn, ConnRef, Direction},
    ip_vs_core,
    ip_vs_ip::{Family, Ip},
    ip_vs_ns::NsRef,
    ip_vs_proto::{End, Transport},
    ip_vs_proto_ah_esp::{is_ipsec, key_exchange},
    ip_vs_svc::count_in,
    ip_vs_tunnel::About,
    ip_vs_xmit as xmit,
};
use core::sync::atomic::Ordering;
use ipvs_logic::{
    addr::{Endpoint, Proto, Tuple},
    flags::FwdMethod,
};
use knet::{
    hook::Point,
    rcu::Rcu,
    skb::{Packet, Verdict},
};

/// Length of an ICMP header.
const ICMP_LEN: u32 = 8;

/// What an ICMP error says.
pub struct Error<F> {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The second word, in network order: the MTU of "fragmentation needed".
    pub rest: u32,
    /// The header it quotes first.
    pub quoted: Ip<F>,
}

/// The packet that an ICMP error is about.
pub struct Inner<F> {
    /// Its header.
    pub ip: Ip<F>,
    /// Its ports; none if it is of IPsec.
    ports: Option<Transport>,
}

impl<F: Family> Inner<F> {
    /// With this header; `None` if it is no packet of ours.
    fn of(packet: &Packet<'_>, ip: Ip<F>) -> Option<Self> {
        if !ip.is_sane {
            return None;
        }
        let ports = match ip.proto {
            Proto::TCP | Proto::UDP if !ip.is_later_fragment => {
                Some(Transport::read_ports(packet, ip.transport)?)
            }
            proto if is_ipsec(proto) => None,
            _ => return None,
        };
        Some(Self { ip, ports })
    }

    /// What identifies its connection.
    fn tuple(&self) -> Tuple {
        match &self.ports {
            Some(ports) => self.ip.tuple(ports),
            None => key_exchange(&self.ip),
        }
    }

    /// Where its ports end.
    fn end(&self) -> u32 {
        let len = if self.ports.is_some() { 4 } else { 0 };
        self.ip.transport.saturating_add(len)
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
    let Some([kind, code, _, _, r0, r1, r2, r3]) = packet.read(ip.transport) else {
        return packet.drop();
    };
    if !F::is_icmp_error(kind) {
        ip_vs_core::mark_foreign(ns, &mut packet, point);
        return packet.accept();
    }
    if ip.is_fragment {
        // Not even put together could this be an error: those are never sent in parts.
        return packet.drop();
    }
    let quoted = ip
        .transport
        .checked_add(ICMP_LEN)
        .and_then(|at| Ip::<F>::read(&packet, at));
    let Some(quoted) = quoted else {
        return packet.accept();
    };
    let inner = Inner::of(&packet, quoted);
    // The packet went the other way: what it says of a request comes from where the server is.
    let tuple = inner.as_ref().map(|i| i.tuple().swapped());
    let found = tuple.and_then(|t| conn::lookup(ns, rcu, &t));
    if let (Some((c, Direction::Out)), Some(inner)) = (found, &inner) {
        return from_server(ns, rcu, packet, &ip, inner, c, point);
    }
    if !takes_errors(&packet, point) || !quoted.is_sane {
        return packet.accept();
    }
    match F::about(ns, rcu, &packet, &quoted) {
        About::Other => packet.accept(),
        About::Tunnelled(at) => {
            let error = Error {
                kind,
                code,
                rest: u32::from_ne_bytes([r0, r1, r2, r3]),
                quoted,
            };
            from_tunnel(ns, rcu, packet, &ip, &error, at)
        }
        About::Plain => match (inner, tuple, found) {
            (Some(inner), _, Some((c, Direction::In))) => {
                from_client(ns, rcu, packet, &ip, &inner, c, point)
            }
            (Some(inner), Some(tuple), _) => unknown(ns, rcu, packet, &ip, &inner, &tuple, point),
            _ => packet.accept(),
        },
    }
}

/// An error about our packet to a real server in a tunnel, in which the client's begins at `at`: to
/// the client.
fn from_tunnel<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: Packet<'a>,
    ip: &Ip<F>,
    error: &Error<F>,
    at: u32,
) -> Verdict<'a> {
    let request = Ip::<F>::read(&packet, at).and_then(|ip| Inner::of(&packet, ip));
    let Some(request) = request else {
        return packet.accept();
    };
    let tuple = request.tuple();
    let Some(c) = conn::lookup_to(ns, rcu, &tuple, Direction::In) else {
        return packet.accept();
    };
    if !F::is_icmp_checksum_right(&packet, ip.transport) {
        return packet.drop();
    }
    F::relay(ns, rcu, packet, error, &request, c.value())
}

/// About a reply of a connection that is not known here: it may have been another director's, and
/// the same server be chosen for it.
fn unknown<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: Packet<'a>,
    ip: &Ip<F>,
    inner: &Inner<F>,
    request: &Tuple,
    point: Point,
) -> Verdict<'a> {
    if ns.value().sysctl.schedule_icmp.load(Ordering::Relaxed) == 0 || inner.ports.is_none() {
        return packet.accept();
    }
    match ip_vs_core::schedule_icmp(ns, rcu, packet, request) {
        Ok((packet, c)) => {
            let verdict = from_client(ns, rcu, packet, ip, inner, c, point);
            conn::start(c, rcu);
            verdict
        }
        Err(verdict) => verdict,
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
    if cv.method() == Some(FwdMethod::Masq) {
        let done = F::is_icmp_checksum_right(&packet, ip.transport)
            && packet.make_writable(inner.end(), 0).is_ok()
            && translate(&mut packet, ip, inner, End::Src, &cv.virt)
            && ip_vs_core::reroute::<F>(ns, &mut packet, point).is_ok();
        if !done {
            return packet.drop();
        }
    }
    ip_vs_core::accept_reply(ns, rcu, packet, cv)
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
    if let Some(dest) = &cv.dest {
        count_in(ns.value(), dest, rcu, packet.len());
    }
    if !translated {
        cv.count_in();
        return xmit::forward(packet, ip, c, rcu, true);
    }
    let mut packet = packet;
    let way = match xmit::route_icmp(&mut packet, ip, cv, rcu, inner.end(), point) {
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
    if inner.ports.is_some() {
        let port = inner.ip.transport as usize + if other == End::Dst { 2 } else { 0 };
        let Some(p) = packet.head_mut().get_mut(port..port + 2) else {
            return false;
        };
        p.copy_from_slice(&new.port.be().to_ne_bytes());
    }
    F::set_icmp_checksum(packet, ip).is_some()
}
