// SPDX-License-Identifier: GPL-2.0
//! Packets in packets: headers are put before one that is sent through a tunnel, and taken off one
//! that came back in an ICMP error.
//!
//! Both kinds are not what netfilter handed over any more, so they have types of their own: they
//! cannot be accepted.
//!
//! C header: [`include/net/ip_tunnels.h`](srctree/include/net/ip_tunnels.h)

use crate::{
    raw,
    raw::helpers,
    rcu::{Rcu, Ref},
    route::Route,
    route6::{In6, Route6},
    skb::{Packet, Summed, Verdict},
};
use core::ptr;
use kernel::{error::to_result, prelude::*};

/// What a packet is put into, for who splits it into segments later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carrier {
    /// IP.
    Ip,
    /// UDP over IP.
    Udp {
        /// With a checksum.
        checksum: bool,
        /// The receiver fills in the checksums of segments.
        remote: bool,
    },
    /// GRE over IP.
    Gre {
        /// With a checksum.
        checksum: bool,
    },
}

impl Carrier {
    #[inline]
    fn gso_type(self, in_ipv6: bool) -> u32 {
        let ip = if in_ipv6 {
            raw::KNET_SKB_GSO_IPXIP6
        } else {
            raw::KNET_SKB_GSO_IPXIP4
        };
        ip | match self {
            Self::Ip => 0,
            Self::Udp { checksum, remote } => {
                let udp = if checksum {
                    raw::KNET_SKB_GSO_UDP_TUNNEL_CSUM
                } else {
                    raw::KNET_SKB_GSO_UDP_TUNNEL
                };
                if remote {
                    udp | raw::KNET_SKB_GSO_TUNNEL_REMCSUM
                } else {
                    udp
                }
            }
            Self::Gre { checksum: true } => raw::KNET_SKB_GSO_GRE_CSUM,
            Self::Gre { checksum: false } => raw::KNET_SKB_GSO_GRE,
        }
    }
}

/// A packet that gets headers before it. Headers are pushed from the inner to the outer one.
pub struct Outer<'a>(Packet<'a>);

impl<'a> Packet<'a> {
    /// Begins to put it into a tunnel, of IPv6 if `in_ipv6`. `inner_proto` is its protocol number in
    /// IP. `Err` if there is no memory: it was freed.
    #[inline]
    pub fn into_tunnel(
        self,
        carrier: Carrier,
        in_ipv6: bool,
        inner_proto: u8,
    ) -> Result<Outer<'a>, Verdict<'a>> {
        // SAFETY: By the type's invariant.
        let err = unsafe {
            helpers::skb_begin_tunnel(
                self.as_ptr(),
                carrier.gso_type(in_ipv6) as c_int,
                inner_proto,
            )
        };
        if err != 0 {
            return Err(self.free());
        }
        Ok(Outer(self))
    }

    /// Takes `len` bytes before an IPv4 packet off; `header` bytes of that are made to be in one
    /// piece, and its transport header is after them. `Err` if there are not as many: it was freed.
    pub fn into_quoted(self, len: u32, header: u32) -> Result<Quoted<'a>, Verdict<'a>> {
        Quoted(self).strip(len, header)
    }
}

impl<'a> Outer<'a> {
    /// How far the checksum of the packet inside is known.
    #[inline]
    pub fn summed(&self) -> Summed {
        self.0.summed()
    }

    /// Length with the headers so far.
    #[inline]
    pub fn len(&self) -> u32 {
        self.0.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a header before what is there.
    ///
    /// # Errors
    ///
    /// `ENOBUFS` if there is no room: see [`Packet::make_writable`].
    #[inline]
    pub fn push<const N: usize>(&mut self, header: &[u8; N]) -> Result {
        if self.0.headroom() < N || self.0.is_shared() {
            return Err(ENOBUFS);
        }
        let skb = self.0.skb_mut();
        skb.data = skb.data.wrapping_sub(N);
        skb.len = skb.len.wrapping_add(N as u32);
        // SAFETY: There were at least `N` bytes before the data, and nobody else sees them.
        unsafe { ptr::copy_nonoverlapping(header.as_ptr(), skb.data, N) };
        Ok(())
    }

    /// The last header is the transport header.
    #[inline]
    pub fn set_transport_header(&mut self) {
        let at = self.0.headroom() as u16;
        self.0.headers_mut().transport_header = at;
    }

    /// The last header is the network header.
    #[inline]
    fn set_network_header(&mut self) {
        let at = self.0.headroom() as u16;
        self.0.headers_mut().network_header = at;
    }

    /// A source port that is always the same for packets of the flow inside, in network order.
    pub fn flow_port(&self) -> u16 {
        // SAFETY: Packet and namespace are valid.
        unsafe { helpers::skb_flow_port(self.0.net().as_ptr(), self.0.as_ptr()) }
    }

    /// Where the part begins whose checksum a device was to fill in, and where in that part the
    /// checksum is; `None` before the packet, which should not be.
    pub fn partial_checksum(&self) -> Option<(u16, u16)> {
        // SAFETY: By the type's invariant.
        let at = unsafe { helpers::skb_partial_checksum(self.0.as_ptr()) };
        let at = u32::try_from(at).ok()?;
        Some(((at >> 16) as u16, at as u16))
    }

    /// The receiver fills in the checksum of the packet inside, or of its segments.
    pub fn leave_checksum(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { helpers::skb_leave_checksum(self.0.as_ptr()) };
    }

    /// Has the checksum of the last header, which is UDP's, filled in or left out. The addresses are
    /// in network order.
    pub fn set_udp_checksum4(&mut self, checksum: bool, src: u32, dst: u32) {
        // SAFETY: By the type's invariant.
        unsafe { helpers::skb_udp_checksum4(self.0.as_ptr(), !checksum, src, dst) };
    }

    /// The same for IPv6.
    pub fn set_udp_checksum6(&mut self, checksum: bool, src: &In6, dst: &In6) {
        // SAFETY: By the type's invariant; the addresses have 16 bytes.
        unsafe {
            helpers::skb_udp_checksum6(self.0.as_ptr(), !checksum, src.as_ptr(), dst.as_ptr());
        };
    }

    /// Puts a GRE header before what is there.
    ///
    /// # Errors
    ///
    /// As for [`Self::push`].
    pub fn push_gre(&mut self, checksum: bool, is_ipv6: bool) -> Result {
        // SAFETY: By the type's invariant.
        to_result(unsafe { helpers::skb_push_gre(self.0.as_ptr(), checksum, is_ipv6) })
    }

    /// Puts an IPv4 header before what is there, fills in its length, identification and checksum,
    /// and sends the whole along `route` as this host's own. It may be split on its way.
    #[inline]
    pub fn send4(mut self, header: &[u8; 20], route: Ref<'_, Route>, _rcu: Rcu<'_>) -> Verdict<'a> {
        if self.push(header).is_err() {
            return self.free();
        }
        self.set_network_header();
        self.0.set_route(route);
        self.0.set_handled();
        // SAFETY: By the type's invariant we own it; the verdict says that it is gone.
        unsafe { helpers::skb_send_tunnel4(self.0.net().as_ptr(), self.0.as_ptr()) };
        self.0.gone()
    }

    /// The same with an IPv6 header, whose length is filled in.
    #[inline]
    pub fn send6(
        mut self,
        header: &[u8; 40],
        route: Ref<'_, Route6>,
        _rcu: Rcu<'_>,
    ) -> Verdict<'a> {
        if self.push(header).is_err() {
            return self.free();
        }
        self.set_network_header();
        self.0.set_route(route);
        self.0.set_handled();
        // SAFETY: By the type's invariant we own it; the verdict says that it is gone.
        unsafe { helpers::skb_send_tunnel6(self.0.net().as_ptr(), self.0.as_ptr()) };
        self.0.gone()
    }

    pub(crate) fn as_ptr(&self) -> *mut raw::sk_buff {
        self.0.as_ptr()
    }

    /// Frees it.
    pub fn free(self) -> Verdict<'a> {
        self.0.free()
    }
}

/// A packet that an ICMP error is about, with nothing before it.
pub struct Quoted<'a>(Packet<'a>);

impl<'a> Quoted<'a> {
    /// As [`Packet::into_quoted`], again.
    pub fn strip(self, len: u32, header: u32) -> Result<Self, Verdict<'a>> {
        // SAFETY: By the type's invariant.
        if unsafe { helpers::skb_strip4(self.0.as_ptr(), len, header) } {
            Ok(self)
        } else {
            Err(self.done())
        }
    }

    /// Length of what is left.
    pub fn len(&self) -> u32 {
        self.0.len()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `N` bytes at `offset`.
    pub fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.0.read(offset)
    }

    /// Remembers that packets as long as `mtu` get to where this IPv4 packet was going.
    pub fn update_pmtu4(&mut self, mtu: u32) {
        // SAFETY: Packet and namespace are valid; the header is in one piece.
        unsafe {
            raw::ipv4_update_pmtu(self.0.as_ptr(), self.0.net().as_ptr(), mtu, 0, 0);
        };
    }

    /// Tells who sent this IPv4 packet.
    pub fn send_icmp4(&self, kind: u8, code: u8, info: u32) {
        self.0.send_icmp4(kind, code, info);
    }

    /// Done with it.
    pub fn done(self) -> Verdict<'a> {
        // SAFETY: By the type's invariant we own it; the verdict says that it is gone.
        unsafe { helpers::skb_consume(self.0.as_ptr()) };
        self.0.gone()
    }
}
