// SPDX-License-Identifier: GPL-2.0
//! IPsec: packets of AH and ESP go where those of the key exchange go, which is a connection of UDP
//! between the ports 500 of both ends. They have no states, and begin no connections.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_proto_ah_esp.c

use crate::{
    ip_vs_conn::{self as conn, ConnRef, Direction},
    ip_vs_core::{accept_reply, gives_way, reroute, takes_requests},
    ip_vs_ip::{Family, Ip},
    ip_vs_ns::NsRef,
    ip_vs_proto::End,
    ip_vs_svc::count_in,
    ip_vs_xmit as xmit,
};
use core::sync::atomic::Ordering;
use ipvs_logic::{
    addr::{Endpoint, Port, Proto, Tuple},
    flags::FwdMethod,
};
use knet::{
    hook::Point,
    rcu::Rcu,
    skb::{Packet, Verdict},
};

/// Whether packets of a protocol belong to a key exchange.
#[inline]
pub fn is_ipsec(proto: Proto) -> bool {
    proto == Proto::ESP || proto == Proto::AH
}

/// The key exchange between the ends of a packet.
pub fn key_exchange<F: Family>(ip: &Ip<F>) -> Tuple {
    Tuple {
        af: F::AF,
        proto: Proto::UDP,
        src: Endpoint::new(ip.src, Port::ISAKMP),
        dst: Endpoint::new(ip.dst, Port::ISAKMP),
    }
}

/// A packet of IPsec, at one of the hooks.
#[cold]
pub fn packet_at<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: Packet<'a>,
    ip: &Ip<F>,
    point: Point,
) -> Verdict<'a> {
    let tuple = key_exchange(ip);
    if let Some(c) = conn::lookup_to(ns, rcu, &tuple, Direction::Out) {
        return reply(ns, rcu, packet, ip, c, point);
    }
    if !takes_requests(&packet, point) {
        return packet.accept();
    }
    match conn::lookup_to(ns, rcu, &tuple, Direction::In) {
        Some(c) => request(ns, rcu, packet, ip, c),
        None => packet.accept(),
    }
}

/// From a client.
fn request<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: Packet<'a>,
    ip: &Ip<F>,
    c: ConnRef<'a>,
) -> Verdict<'a> {
    let cv = c.value();
    if let Some(dest) = &cv.dest {
        if !dest.is_available() {
            return server_gone(ns, packet, c);
        }
        count_in(ns.value(), dest, rcu, packet.len());
    }
    cv.count_in();
    conn::touch(c);
    xmit::forward_related(packet, ip, c, rcu)
}

/// The server was removed. Another one is for the next key exchange to find.
fn server_gone<'a>(ns: NsRef<'a>, packet: Packet<'a>, c: ConnRef<'a>) -> Verdict<'a> {
    let expires = ns.value().sysctl.expire_nodest_conn.load(Ordering::Relaxed) != 0;
    if expires && gives_way(&packet, c) {
        packet.accept()
    } else {
        packet.drop()
    }
}

/// From a real server.
fn reply<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    mut packet: Packet<'a>,
    ip: &Ip<F>,
    c: ConnRef<'a>,
    point: Point,
) -> Verdict<'a> {
    let cv = c.value();
    conn::touch(c);
    let translate = |packet: &mut Packet<'_>| {
        packet.make_writable(ip.transport, 0)?;
        ip.set_addr(packet, End::Src, &cv.virt.addr);
        reroute::<F>(ns, packet, point)
    };
    if cv.method() == Some(FwdMethod::Masq) && translate(&mut packet).is_err() {
        return packet.free();
    }
    accept_reply(ns, rcu, packet, cv)
}
