// SPDX-License-Identifier: GPL-2.0
//! Tunnels to real servers: packets go in an outer packet, and ICMP errors about the outer packet
//! reach the client as errors about its own.
//!
//! C counterparts: net/netfilter/ipvs/ip_vs_xmit.c, `ip_vs_tunnel_xmit()`, and ip_vs_core.c,
//! `ip_vs_in_icmp()`

use crate::{
    ip_vs_conn::Conn,
    ip_vs_ctl::find_tunnel,
    ip_vs_icmp::{Error, Inner},
    ip_vs_ip::{icmp, Family, Ip, Ip4, V4, V6},
    ip_vs_nfct,
    ip_vs_ns::NsRef,
    ip_vs_svc::{count_out, Dest},
    ip_vs_xmit::{local, take_route, Target, TUNNEL},
};
use core::sync::atomic::Ordering;
use ipvs_logic::{
    addr::{Addr, Af, Port, Proto},
    flags::tun_type,
    tunnel::{self, Outer4, Outer6, Tunnel, IPV4_LEN, IPV6_LEN},
};
use kernel::prelude::*;
use knet::{
    rcu::Rcu,
    rcu::Ref,
    route::{Path, Route},
    route6::Route6,
    skb::{Packet, Summed, Verdict},
    tunnel::{Carrier, Outer},
};

impl Dest {
    /// How packets are carried to it.
    #[inline]
    fn tunnel(&self) -> Tunnel {
        Tunnel::new(
            self.tun_type.load(Ordering::Relaxed),
            self.tun_flags.load(Ordering::Relaxed),
        )
    }
}

/// The longest packet that fits in a tunnel along a route; `None` if that is too little.
#[inline]
fn tunnel_mtu<O: Carries>(route: &O::Route, overhead: u32, rcu: Rcu<'_>) -> Option<u32> {
    let mtu = route.mtu(rcu).checked_sub(overhead)?;
    (mtu >= O::MIN_MTU).then_some(mtu)
}

/// A family whose packets carry others.
pub trait Carries: Family {
    /// Length of the header.
    const LEN: u32;
    /// The shortest MTU a tunnel can do with.
    const MIN_MTU: u32;

    /// Has the checksum of the UDP header filled in or left out.
    fn set_udp_checksum(outer: &mut Outer<'_>, checksum: bool, route: &Self::Route, dst: &Addr);

    /// Puts the header before a packet and sends the whole.
    fn send_outer<'a>(
        outer: Outer<'a>,
        header: Header,
        route: Ref<'_, Self::Route>,
        dst: &Addr,
        rcu: Rcu<'_>,
    ) -> Verdict<'a>;
}

/// What an outer header takes from the packet.
#[derive(Clone, Copy)]
pub struct Header {
    tos: u8,
    ttl: u8,
    dont_fragment: bool,
    proto: u8,
}

impl Carries for V4 {
    const LEN: u32 = IPV4_LEN;
    const MIN_MTU: u32 = tunnel::MIN_MTU;

    fn set_udp_checksum(outer: &mut Outer<'_>, checksum: bool, route: &Route, dst: &Addr) {
        outer.set_udp_checksum4(checksum, route.saddr(), dst.v4_be());
    }

    #[inline]
    fn send_outer<'a>(
        outer: Outer<'a>,
        h: Header,
        route: Ref<'_, Route>,
        dst: &Addr,
        rcu: Rcu<'_>,
    ) -> Verdict<'a> {
        let header = Outer4 {
            tos: h.tos,
            ttl: h.ttl,
            dont_fragment: h.dont_fragment,
            proto: h.proto,
            src: route.saddr(),
            dst: dst.v4_be(),
        };
        outer.send4(&header.emit(), route, rcu)
    }
}

impl Carries for V6 {
    const LEN: u32 = IPV6_LEN;
    const MIN_MTU: u32 = tunnel::MIN_MTU6;

    fn set_udp_checksum(outer: &mut Outer<'_>, checksum: bool, route: &Route6, dst: &Addr) {
        outer.set_udp_checksum6(checksum, route.saddr(), dst.words());
    }

    #[inline]
    fn send_outer<'a>(
        outer: Outer<'a>,
        h: Header,
        route: Ref<'_, Route6>,
        dst: &Addr,
        rcu: Rcu<'_>,
    ) -> Verdict<'a> {
        let header = Outer6 {
            tos: h.tos,
            ttl: h.ttl,
            proto: h.proto,
            src: Addr::from_words(*route.saddr()),
            dst: *dst,
        };
        outer.send6(&header.emit(), route, rcu)
    }
}

/// Type of service, or traffic class.
#[inline]
fn tos<F: Family>(packet: &Packet<'_>, ip: &Ip<F>) -> Option<u8> {
    let [a, b] = packet.read::<2>(ip.offset)?;
    Some(match F::AF {
        Af::Inet => b,
        Af::Inet6 => (a << 4) | (b >> 4),
    })
}

/// Sends a packet of the client to the real server in another packet, of the family `O`.
#[inline]
pub fn send<'a, F: Carries, O: Carries>(
    mut packet: Packet<'a>,
    ip: &Ip<F>,
    conn: &'a Conn,
    rcu: Rcu<'a>,
    is_icmp: bool,
) -> Verdict<'a> {
    let target = Target::of(conn);
    let Ok(way) = take_route::<F, O>(&mut packet, ip, target, &TUNNEL, rcu, 0) else {
        return packet.free();
    };
    let Some(route) = way.route else {
        return local(packet, conn);
    };
    let Some(dest) = target.dest else {
        return packet.free();
    };
    let tunnel = dest.tunnel();
    let between = tunnel.header_len(packet.summed() == Summed::Partial);
    let overhead = between.saturating_add(O::LEN);
    let Some(mtu) = tunnel_mtu::<O>(route.value(), overhead, rcu) else {
        return packet.free();
    };
    packet.tell_socket_mtu(mtu);
    // Without path MTU discovery the outer packet may be split, whatever the client said.
    // That of IPv6 says nothing.
    let dont_fragment = F::AF == Af::Inet
        && ip.dont_fragment
        && conn.ns.sysctl.pmtu_disc.load(Ordering::Relaxed) != 0;
    let must_fit = F::must_fit(ip, is_icmp) && (dont_fragment || F::AF == Af::Inet6);
    if must_fit && !F::check_mtu(ip, &mut packet, mtu, is_icmp) {
        return packet.free();
    }
    if packet.has_dev() {
        packet.orphan();
    }
    let headroom = route.reserved_room(rcu).saturating_add(overhead);
    if packet.make_writable(F::LEN, headroom).is_err() {
        return packet.free();
    }
    let Some(tos) = tos(&packet, ip) else {
        return packet.free();
    };
    let partial = packet.summed() == Summed::Partial;
    let inner = tunnel::inner_proto(F::AF);
    let in_ipv6 = O::AF == Af::Inet6;
    let mut outer = match packet.into_tunnel(carrier(tunnel, partial), in_ipv6, inner) {
        Ok(outer) => outer,
        Err(verdict) => return verdict,
    };
    let dst = &conn.real.addr;
    let proto = match tunnel {
        Tunnel::Ip => Ok(inner),
        Tunnel::Gue { checksum, remote } => {
            let port = dest.tunnel_port();
            push_gue(&mut outer, port, remote && partial, inner)
                .map(|()| O::set_udp_checksum(&mut outer, checksum, route.value(), dst))
                .map(|()| tunnel::proto::UDP)
        }
        Tunnel::Gre { checksum } => outer
            .push_gre(checksum, F::AF == Af::Inet6)
            .map(|()| tunnel::proto::GRE),
    };
    let Ok(proto) = proto else {
        return outer.free();
    };
    let outer = match ip_vs_nfct::tunnelled(outer, conn) {
        Ok(outer) => outer,
        Err(verdict) => return verdict,
    };
    let header = Header {
        tos: tunnel::outer_tos(tos),
        // It was decremented.
        ttl: ip.ttl.wrapping_sub(1),
        dont_fragment,
        proto,
    };
    O::send_outer(outer, header, route, dst, rcu)
}

#[inline]
fn carrier(tunnel: Tunnel, partial: bool) -> Carrier {
    match tunnel {
        Tunnel::Ip => Carrier::Ip,
        Tunnel::Gue { checksum, remote } => Carrier::Udp {
            checksum,
            remote: remote && partial,
        },
        Tunnel::Gre { checksum } => Carrier::Gre { checksum },
    }
}

/// Puts UDP and GUE headers before a packet. `remote`: the server fills in its checksum.
fn push_gue(outer: &mut Outer<'_>, port: Port, remote: bool, inner: u8) -> Result {
    let source = Port::from_be(outer.flow_port());
    if remote {
        let (start, offset) = outer.partial_checksum().ok_or(EINVAL)?;
        outer.push(&tunnel::gue_remote(inner, start, offset))?;
        outer.leave_checksum();
    } else {
        outer.push(&tunnel::gue(inner))?;
    }
    let len = outer.len().saturating_add(tunnel::UDP_LEN);
    outer.push(&tunnel::udp(source, port, len))?;
    outer.set_transport_header();
    Ok(())
}

/// Whose packet an ICMP error is about.
pub enum About {
    /// One that somebody sent as it is quoted.
    Plain,
    /// One of ours to a real server; the client's begins at this offset.
    Tunnelled(u32),
    /// Not for us.
    Other,
}

/// Whose packet begins with the header `quoted`. Errors about tunnels come to this host.
pub fn about4(ns: NsRef<'_>, rcu: Rcu<'_>, packet: &Packet<'_>, quoted: &Ip4) -> About {
    let Ip4 { proto, .. } = *quoted;
    let (is_ip, is_udp) = (proto.0 == tunnel::proto::IPIP, proto == Proto::UDP);
    if !is_ip && !is_udp && proto.0 != tunnel::proto::GRE {
        return About::Plain;
    }
    if !packet.is_route_local() {
        return if is_ip { About::Other } else { About::Plain };
    }
    if quoted.is_later_fragment {
        return About::Other;
    }
    let at = quoted.transport;
    let between = if is_ip {
        let found = find_tunnel(ns, rcu, &quoted.dst, Port::ZERO);
        if !found.is_some_and(|d| is_of_type(&d, tun_type::IPIP)) {
            return About::Other;
        }
        Some(0)
    } else if is_udp {
        gue_len(ns, rcu, packet, quoted, at)
    } else {
        gre_len(ns, rcu, packet, quoted, at)
    };
    match between {
        Some(len) => About::Tunnelled(at.saturating_add(len)),
        None => About::Plain,
    }
}

fn is_of_type(dest: &Dest, kind: u16) -> bool {
    dest.tun_type.load(Ordering::Relaxed) == kind
}

fn gue_len(ns: NsRef<'_>, rcu: Rcu<'_>, packet: &Packet<'_>, quoted: &Ip4, at: u32) -> Option<u32> {
    let [_, _, p0, p1, ..] = packet.read::<{ tunnel::UDP_LEN as usize }>(at)?;
    let port = Port::from_be(u16::from_ne_bytes([p0, p1]));
    let dest = find_tunnel(ns, rcu, &quoted.dst, port)?;
    if !is_of_type(&dest, tun_type::GUE) {
        return None;
    }
    tunnel::gue_to_packet(packet.read(at.checked_add(tunnel::UDP_LEN)?)?)
}

fn gre_len(ns: NsRef<'_>, rcu: Rcu<'_>, packet: &Packet<'_>, quoted: &Ip4, at: u32) -> Option<u32> {
    let header = packet.read(at)?;
    let dest = find_tunnel(ns, rcu, &quoted.dst, Port::ZERO)?;
    if !is_of_type(&dest, tun_type::GRE) {
        return None;
    }
    tunnel::gre_to_packet(header)
}

/// Makes of an ICMP error about our outer packet one about the packet of the client, and sends it
/// there. `error` has the right checksum and
/// quotes the outer header first; `request` is the client's.
pub fn relay4<'a>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: Packet<'a>,
    error: &Error<V4>,
    request: &Inner<V4>,
    conn: &Conn,
) -> Verdict<'a> {
    let quoted = &error.quoted;
    let to_request = request.ip.offset;
    let len = request.ip.header_len();
    let mut info = error.rest;
    let stripped = if (error.kind, error.code) == (icmp::DEST_UNREACH, icmp::FRAG_NEEDED) {
        let outer = match packet.into_quoted(quoted.offset, quoted.header_len()) {
            Ok(outer) => outer,
            Err(verdict) => return verdict,
        };
        let mut outer = outer;
        let mut mtu = u32::from_be(error.rest) & 0xffff;
        outer.update_pmtu4(mtu);
        if !request.ip.dont_fragment {
            return outer.done();
        }
        let overhead = to_request.wrapping_sub(quoted.offset);
        if let Some(route) = conn.dest.as_ref().and_then(|d| d.route.load(rcu)) {
            mtu = route.mtu(rcu);
        }
        if mtu > tunnel::MIN_MTU.saturating_add(overhead) {
            mtu = mtu.wrapping_sub(overhead);
        }
        info = mtu.to_be();
        outer.strip(overhead, len)
    } else {
        packet.into_quoted(to_request, len)
    };
    let stripped = match stripped {
        Ok(s) => s,
        Err(verdict) => return verdict,
    };
    // The header could have changed between looking at it and having it in one piece.
    let Some([first]) = stripped.read::<1>(0) else {
        return stripped.done();
    };
    if u32::from(first & 15) * 4 != len {
        return stripped.done();
    }
    stripped.send_icmp4(error.kind, error.code, info);
    if let Some(dest) = &conn.dest {
        count_out(ns.value(), dest, rcu, stripped.len());
    }
    stripped.done()
}
