// SPDX-License-Identifier: GPL-2.0
//! The network header, and what else IPv4 and IPv6 do differently with a packet.
//!
//! What packets go through is written once, for a [`Family`], and compiled once for each: neither
//! pays for the other.
//!
//! C counterpart: `struct ip_vs_iphdr`, include/net/ip_vs.h

use crate::{
    ip_vs_conn::Conn,
    ip_vs_icmp::{Error, Inner},
    ip_vs_ns::NsRef,
    ip_vs_proto::{End, Transport},
    ip_vs_svc::Dest,
    ip_vs_tunnel::About,
};
use ipvs_logic::addr::{Addr, Af, Endpoint, Proto, Tuple};
use ipvs_logic::checksum::Sum;
use kernel::prelude::*;
use knet::{
    hook::Point,
    net::Net,
    rcu::{Arc, Object, Rcu, Ref, Slot},
    route::{Path, Purpose},
    skb::{DefragUser, Packet, Verdict},
};

mod v4;
mod v6;

pub use v4::{icmp, Ip4, V4};
pub use v6::{Ip6, V6};

/// What there is to know of a network header.
#[derive(Clone, Copy)]
pub struct Ip<F> {
    /// Where it starts.
    pub offset: u32,
    /// Where the transport header starts.
    pub transport: u32,
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Protocol of the transport header.
    pub proto: Proto,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Must not be split on its way.
    pub dont_fragment: bool,
    /// Part of a datagram.
    pub is_fragment: bool,
    /// Offset of the part in the datagram is not 0.
    pub is_later_fragment: bool,
    /// Looks like a header of its family.
    pub is_sane: bool,
    /// Its family.
    pub family: F,
}

impl<F: Family> Ip<F> {
    /// Of the header at `offset`.
    #[inline]
    pub fn read(packet: &Packet<'_>, offset: u32) -> Option<Self> {
        F::read(packet, offset)
    }

    /// With the ports of a transport header.
    #[inline]
    pub fn tuple(&self, t: &Transport) -> Tuple {
        Tuple {
            af: F::AF,
            proto: self.proto,
            src: Endpoint::new(self.src, t.src),
            dst: Endpoint::new(self.dst, t.dst),
        }
    }

    /// Changes an address; the header is writable.
    #[inline]
    pub fn set_addr(&self, packet: &mut Packet<'_>, end: End, addr: &Addr) {
        F::set_addr(self, packet, end, addr);
    }
}

/// An address family.
pub trait Family: Copy + 'static {
    /// Its number.
    const AF: Af;
    /// Its ICMP.
    const ICMP: Proto;
    /// A way to a real server of it.
    type Route: Path + Object;

    /// The header at `offset`; `None` if it is not there or what follows is not to be understood.
    fn read(packet: &Packet<'_>, offset: u32) -> Option<Ip<Self>>;

    /// Changes an address; the header is writable.
    fn set_addr(ip: &Ip<Self>, packet: &mut Packet<'_>, end: End, addr: &Addr);

    /// Decrements the time to live.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn decrement_ttl(ip: &Ip<Self>, packet: &mut Packet<'_>) -> Result;

    /// A part of a datagram: puts it together, if it is not done before the hooks. `Err` if there
    /// is nothing to look at yet.
    fn gather<'a>(
        packet: Packet<'a>,
        ip: &Ip<Self>,
        point: Point,
    ) -> Result<Packet<'a>, Verdict<'a>>;

    /// Where a server remembers the way to it.
    fn route_slot(dest: &Dest) -> &Slot<Self::Route>;

    /// Looks up the way to an address.
    ///
    /// # Errors
    ///
    /// Without a way, or memory.
    fn find_route(net: &Net, addr: &Addr, purpose: Purpose) -> Result<Arc<Self::Route>>;

    /// Whether the route that a packet has ends at this host.
    fn is_route_local(packet: &Packet<'_>) -> bool;

    /// Whether `addr` is that of one host, and not of this one.
    fn is_other_host(net: &Net, addr: &Addr) -> bool;

    /// Sends a packet to the real server in another packet.
    fn tunnel<'a>(
        packet: Packet<'a>,
        ip: &Ip<Self>,
        conn: &'a Conn,
        rcu: Rcu<'a>,
        is_icmp: bool,
    ) -> Verdict<'a>;

    /// Whose packet it is that an ICMP error quotes, beginning with this header.
    fn about(ns: NsRef<'_>, rcu: Rcu<'_>, packet: &Packet<'_>, quoted: &Ip<Self>) -> About;

    /// Makes of an ICMP error about our packet in a tunnel one about the client's, and sends it.
    fn relay<'a>(
        ns: NsRef<'a>,
        rcu: Rcu<'a>,
        packet: Packet<'a>,
        error: &Error<Self>,
        request: &Inner<Self>,
        conn: &Conn,
    ) -> Verdict<'a>;

    /// Sends a packet along a way.
    fn send<'a>(packet: Packet<'a>, route: Ref<'_, Self::Route>, rcu: Rcu<'_>) -> Verdict<'a>;

    /// Routes a packet again, as if it had been sent from here.
    ///
    /// # Errors
    ///
    /// Without a way, or memory.
    fn reroute(packet: &mut Packet<'_>) -> Result;

    /// Whether a packet comes from an address that never leaves a host.
    fn is_from_loopback(ip: &Ip<Self>, packet: &Packet<'_>) -> bool;

    /// Whether a packet that stays on this host may not go to `addr`: it came from outside, and the
    /// address never leaves a host.
    fn is_foreign_to(packet: &Packet<'_>, addr: &Addr) -> bool;

    /// Whether a packet may not be longer than its way takes.
    fn must_fit(ip: &Ip<Self>, is_icmp: bool) -> bool;

    /// Whether a packet fits; if not, the sender is told.
    fn check_mtu(ip: &Ip<Self>, packet: &mut Packet<'_>, mtu: u32, is_icmp: bool) -> bool;

    /// Tells the sender that nobody listens.
    fn send_port_unreachable(packet: &mut Packet<'_>);

    /// Tells the sender that the packet passed too many routers.
    fn send_time_exceeded(packet: &mut Packet<'_>);

    /// Whether this type of ICMP tells of an error.
    fn is_icmp_error(kind: u8) -> bool;

    /// Whether an ICMP checksum is right, or need not be looked at.
    fn is_icmp_checksum_right(packet: &Packet<'_>, offset: u32) -> bool;

    /// Sets an ICMP checksum; the header is writable. `None` if it is not there.
    fn set_icmp_checksum(packet: &mut Packet<'_>, ip: &Ip<Self>) -> Option<()>;

    /// The field of a `CHECKSUM_PARTIAL` packet after an address has changed.
    fn partial(check: u16, old: &Addr, new: &Addr) -> u16;

    /// A TCP checksum after an address and a port have changed.
    fn update(check: u16, old: &Endpoint, new: &Endpoint) -> u16;

    /// The same for UDP; `None` if there was none.
    fn update_udp(check: u16, old: &Endpoint, new: &Endpoint) -> Option<u16>;

    /// Adds the pseudo header.
    fn add_pseudo(sum: Sum, a: &Addr, b: &Addr, proto: Proto, len: u32) -> Sum;
}

/// Who asks for fragments at a hook.
pub fn defrag_user(point: Point) -> DefragUser {
    match point {
        Point::LocalIn => DefragUser::In,
        Point::Forward => DefragUser::Forward,
        Point::LocalOut => DefragUser::Out,
    }
}
