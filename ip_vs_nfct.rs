// SPDX-License-Identifier: GPL-2.0
//! Connection tracking beside connections (`conntrack=1`): netfilter keeps an entry for each, knows
//! that replies come from the real server, and forgets it with the connection. Otherwise packets of
//! connections are taken out of its hands.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_nfct.c

use crate::ip_vs_conn::Conn;
use ipvs_logic::{
    addr::{Af, Endpoint},
    flags::{ConnFlags, FwdMethod},
};
use knet::{
    conntrack::Peer,
    skb::{Packet, Verdict},
    tunnel::Outer,
};

impl Conn {
    #[inline]
    fn is_tracked(&self) -> bool {
        self.flags().contains(ConnFlags::NFCT)
    }
}

/// A packet of the client goes on to the real server, translated.
#[inline(always)]
pub fn request(packet: &mut Packet<'_>, conn: &Conn) {
    if conn.is_tracked() {
        expect_replies(packet, conn, true);
    } else {
        packet.untrack();
    }
}

/// A packet of the real server goes on to the client.
#[inline(always)]
pub fn reply(packet: &mut Packet<'_>, conn: &Conn) {
    if conn.is_tracked() {
        expect_replies(packet, conn, false);
    } else {
        packet.untrack();
    }
}

/// Tells who answers this packet, if it is the first that netfilter sees.
#[cold]
#[inline(never)]
fn expect_replies(packet: &mut Packet<'_>, conn: &Conn, is_request: bool) {
    let one_packet = conn.flags().contains(ConnFlags::ONE_PACKET);
    // Only translation changes who answers, and to one packet nobody does.
    if conn.method() != Some(FwdMethod::Masq) || one_packet {
        return;
    }
    if is_request {
        let addr = conn.real.addr.to_bytes16();
        packet.expect_replies_from(peer(&addr, &conn.real));
    } else {
        let addr = conn.virt.addr.to_bytes16();
        packet.expect_replies_to(peer(&addr, &conn.virt));
    }
}

fn peer<'a>(addr: &'a [u8; 16], end: &Endpoint) -> Peer<'a> {
    Peer {
        addr,
        port: end.port.be(),
    }
}

/// A packet of the client goes on as it is.
#[inline(always)]
pub fn as_is(packet: &mut Packet<'_>, conn: &Conn) {
    if !conn.is_tracked() {
        packet.untrack();
    }
}

/// A packet of the client goes on inside another one, which has no entry.
#[inline]
pub fn tunnelled<'a>(outer: Outer<'a>, conn: &Conn) -> Result<Outer<'a>, Verdict<'a>> {
    if conn.is_tracked() {
        outer.confirm()
    } else {
        Ok(outer)
    }
}

/// The connection is out of the table.
#[inline]
pub fn ended(conn: &Conn) {
    if conn.is_tracked() {
        forget(conn);
    }
}

#[cold]
#[inline(never)]
fn forget(conn: &Conn) {
    // Those of templates have no port, and belong to nobody.
    if conn.client.port.is_zero() {
        return;
    }
    let (src, dst) = (conn.client.addr.to_bytes16(), conn.virt.addr.to_bytes16());
    conn.ns.tracking.forget(
        conn.af == Af::Inet6,
        conn.proto.0,
        peer(&src, &conn.client),
        peer(&dst, &conn.virt),
    );
}
