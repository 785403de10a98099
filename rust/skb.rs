// SPDX-License-Identifier: GPL-2.0
//! Packets as netfilter hands them to hooks.
//!
//! A hook gets a [`Packet`] by value and must return a [`Verdict`]; the only way to one is to give
//! the packet up. So nothing can touch a packet that was sent, dropped or accepted.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h)

use crate::{
    net::Net,
    raw,
    raw::helpers,
    rcu::{Object, Rcu, Ref},
    route::{Path, Route},
    route6::Route6,
};
use core::{marker::PhantomData, ptr::NonNull, slice};
use kernel::{error::to_result, prelude::*};

/// What becomes of a packet: of the one that `'a` stands for.
#[must_use]
pub struct Verdict<'a>(pub(crate) c_uint, Brand<'a>);

/// Keeps `'a` as it is: neither shorter nor longer.
type Brand<'a> = PhantomData<fn(&'a ()) -> &'a ()>;

/// How far its checksum is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Summed {
    /// Not at all.
    None,
    /// It is right.
    Unnecessary,
    /// The device gave the sum of all of it.
    Complete,
    /// The sum of the pseudo header is in its place, the device does the rest.
    Partial,
}

/// Who asks for fragments to be put together: each has queues of its own.
#[derive(Clone, Copy)]
pub enum DefragUser {
    /// On the way in.
    In,
    /// On the way out.
    Out,
    /// When forwarded.
    Forward,
}

/// A packet at a hook.
///
/// # Invariants
///
/// Owns a valid `sk_buff` that is not shared and has a route; `state` is that of the call.
pub struct Packet<'a> {
    skb: NonNull<raw::sk_buff>,
    state: &'a raw::nf_hook_state,
    _p: Brand<'a>,
}

impl<'a> Packet<'a> {
    /// # Safety
    ///
    /// Called by netfilter, with what it gave.
    #[inline]
    pub(crate) unsafe fn new(
        skb: *mut raw::sk_buff,
        state: &'a raw::nf_hook_state,
    ) -> Option<Self> {
        // INVARIANT: By the requirement; the route is looked at below.
        let packet = Self {
            // SAFETY: netfilter passes a packet.
            skb: unsafe { NonNull::new_unchecked(skb) },
            state,
            _p: PhantomData,
        };
        (packet.refdst() & !NOREF != 0).then_some(packet)
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut raw::sk_buff {
        self.skb.as_ptr()
    }

    #[inline]
    pub(crate) fn skb_mut(&mut self) -> &mut raw::sk_buff {
        // SAFETY: By the type's invariant; nobody else has it.
        unsafe { self.skb.as_mut() }
    }

    #[inline]
    fn skb(&self) -> &raw::sk_buff {
        // SAFETY: By the type's invariant.
        unsafe { self.skb.as_ref() }
    }

    #[inline]
    fn headers(&self) -> &raw::sk_buff__bindgen_ty_4__bindgen_ty_2 {
        // SAFETY: Both views of the union are the same fields.
        unsafe { self.skb().__bindgen_anon_4.headers.as_ref() }
    }

    #[inline]
    pub(crate) fn headers_mut(&mut self) -> &mut raw::sk_buff__bindgen_ty_4__bindgen_ty_2 {
        // SAFETY: By the type's invariant; both views of the union are the same fields.
        unsafe { self.skb.as_mut().__bindgen_anon_4.headers.as_mut() }
    }

    // ---- where it is ----

    /// The namespace it is in.
    #[inline]
    pub fn net(&self) -> &'a Net {
        // SAFETY: Valid during the call.
        unsafe { Net::from_raw(self.state.net) }
    }

    /// The device it came from; `false` for what a local socket sends.
    #[inline]
    pub fn has_dev(&self) -> bool {
        // SAFETY: At hooks this member of the union is in use.
        let dev = unsafe {
            self.skb()
                .__bindgen_anon_1
                .__bindgen_anon_1
                .__bindgen_anon_1
                .dev
        };
        !dev.is_null()
    }

    /// Whether it came from this host: no device, or the loopback one.
    pub fn is_from_local(&self) -> bool {
        // SAFETY: By the type's invariant.
        unsafe { helpers::skb_is_local(self.skb.as_ptr()) }
    }

    /// Whether it belongs to a raw socket that builds its own IPv4 headers and wants no
    /// reassembly.
    pub fn is_nodefrag_socket(&self) -> bool {
        // SAFETY: By the type's invariant.
        !self.skb().sk.is_null() && unsafe { helpers::skb_nodefrag(self.skb.as_ptr()) }
    }

    /// Whether it is addressed to this host on the link layer.
    #[inline]
    pub fn is_for_host(&self) -> bool {
        u32::from(self.headers().pkt_type()) == raw::PACKET_HOST
    }

    #[inline]
    fn refdst(&self) -> c_ulong {
        // SAFETY: At hooks this member of the union is in use.
        unsafe { self.skb().__bindgen_anon_3.__bindgen_anon_1._skb_refdst }
    }

    #[inline]
    fn rtable(&self) -> Option<&raw::rtable> {
        if u32::from(self.state.pf) != raw::NFPROTO_IPV4 {
            return None;
        }
        let p = (self.refdst() & !NOREF) as *const raw::rtable;
        // SAFETY: An IPv4 packet's route, which the packet holds or RCU keeps.
        unsafe { p.as_ref() }
    }

    /// Whether its route ends at this host. IPv4 only.
    #[inline]
    pub fn is_route_local(&self) -> bool {
        self.rtable()
            .is_some_and(|rt| rt.rt_flags & raw::KNET_RTCF_LOCAL != 0)
    }

    /// Whether its route is that of a packet from outside. IPv4 only.
    #[inline]
    pub fn is_route_input(&self) -> bool {
        self.rtable().is_some_and(|rt| rt.rt_is_input != 0)
    }

    /// Firewall mark.
    #[inline]
    pub fn mark(&self) -> u32 {
        // SAFETY: At hooks this member of the union is in use.
        unsafe { self.headers().__bindgen_anon_4.mark }
    }

    /// Whether IPVS is done with it (`skb->ipvs_property`).
    #[inline]
    pub fn is_handled(&self) -> bool {
        self.headers().ipvs_property() != 0
    }

    /// Marks it as done with.
    #[inline]
    pub fn set_handled(&mut self) {
        self.headers_mut().set_ipvs_property(1);
    }

    // ---- its bytes ----

    /// Length, all fragments included.
    #[inline]
    pub fn len(&self) -> u32 {
        self.skb().len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that are in one piece at its beginning.
    #[inline]
    pub fn head_len(&self) -> u32 {
        self.skb().len.wrapping_sub(self.skb().data_len)
    }

    /// Where the network header starts.
    #[inline]
    pub fn network_offset(&self) -> u32 {
        let at = self
            .skb()
            .head
            .wrapping_add(self.headers().network_header.into());
        (at.addr().wrapping_sub(self.skb().data.addr())) as u32
    }

    /// `N` bytes at `offset`, wherever they are; `None` if it is shorter.
    #[inline]
    pub fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        if let Some(end) = offset.checked_add(N as u32) {
            if end <= self.head_len() {
                let at = self.skb().data.wrapping_add(offset as usize);
                // SAFETY: `data` and `head_len` bytes after it are the packet's.
                return Some(unsafe { at.cast::<[u8; N]>().read_unaligned() });
            }
        }
        self.read_slow(offset)
    }

    #[cold]
    fn read_slow<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut buf = [0; N];
        let offset = c_int::try_from(offset).ok()?;
        // SAFETY: By the type's invariant; the buffer has `N` bytes.
        let err = unsafe {
            raw::skb_copy_bits(
                self.skb.as_ptr(),
                offset,
                buf.as_mut_ptr().cast(),
                N as c_int,
            )
        };
        (err == 0).then_some(buf)
    }

    /// Makes the first `len` bytes writable and in one piece, with room for a link layer header of
    /// `headroom` bytes. Where bytes are may change.
    #[inline]
    pub fn make_writable(&mut self, len: u32, headroom: u32) -> Result {
        let room = self.headroom();
        if self.skb().cloned() == 0 && len <= self.head_len() && headroom as usize <= room {
            return Ok(());
        }
        self.make_writable_slow(len, headroom)
    }

    /// Bytes there are before its first one.
    #[inline]
    pub(crate) fn headroom(&self) -> usize {
        let skb = self.skb();
        skb.data.addr().wrapping_sub(skb.head.addr())
    }

    #[cold]
    fn make_writable_slow(&mut self, len: u32, headroom: u32) -> Result {
        // SAFETY: By the type's invariant.
        to_result(unsafe { helpers::skb_make_writable(self.skb.as_ptr(), len, headroom) })
    }

    /// Whether others may see its bytes.
    #[inline]
    pub fn is_shared(&self) -> bool {
        self.skb().cloned() != 0
    }

    /// Decrements the hop limit of an IPv6 packet that others may see.
    #[cold]
    pub fn decrement_ttl6(&mut self) -> Result {
        // SAFETY: By the type's invariant; an IPv6 packet begins with its header.
        to_result(unsafe { helpers::skb_decrement_ttl6(self.skb.as_ptr()) })
    }

    /// Whether its route ends at this host: its device is the loopback one. Any family.
    pub fn is_route_loopback(&self) -> bool {
        // SAFETY: By the type's invariant; it has a route.
        unsafe { helpers::skb_route_loopback(self.skb.as_ptr()) }
    }

    /// Decrements the time to live of an IPv4 packet that others may see.
    #[cold]
    pub fn decrement_ttl4(&mut self) -> Result {
        // SAFETY: By the type's invariant; an IPv4 packet begins with its header.
        to_result(unsafe { helpers::skb_decrement_ttl4(self.skb.as_ptr()) })
    }

    /// The bytes that are in one piece; none before [`Self::make_writable`] if others see them too.
    #[inline]
    pub fn head_mut(&mut self) -> &mut [u8] {
        if self.skb().cloned() != 0 {
            return &mut [];
        }
        let len = self.head_len() as usize;
        // SAFETY: `data` and `head_len` bytes after it are the packet's, which is ours, and no
        // clone's.
        unsafe { slice::from_raw_parts_mut(self.skb().data, len) }
    }

    // ---- checksums ----

    /// How far its checksum is known.
    #[inline]
    pub fn summed(&self) -> Summed {
        match u32::from(self.headers().ip_summed()) {
            raw::KNET_CHECKSUM_PARTIAL => Summed::Partial,
            raw::KNET_CHECKSUM_COMPLETE => Summed::Complete,
            raw::KNET_CHECKSUM_UNNECESSARY => Summed::Unnecessary,
            _ => Summed::None,
        }
    }

    /// Its checksum is not known any more.
    #[inline]
    pub fn set_checksum_unknown(&mut self) {
        self.headers_mut()
            .set_ip_summed(raw::KNET_CHECKSUM_NONE as u8);
    }

    /// Its checksum is right.
    pub fn set_checksum_right(&mut self) {
        self.headers_mut()
            .set_ip_summed(raw::KNET_CHECKSUM_UNNECESSARY as u8);
    }

    /// The folded sum of all from `offset` on, as it goes into a header (complemented, network
    /// order).
    pub fn checksum_from(&self, offset: u32) -> u16 {
        let len = self.len().saturating_sub(offset);
        // SAFETY: By the type's invariant; the range is within the packet.
        unsafe { helpers::skb_checksum_fold(self.skb.as_ptr(), offset, len) }
    }

    /// The unfolded sum of all from `offset` on.
    pub fn partial_sum_from(&self, offset: u32) -> u32 {
        let len = self.len().saturating_sub(offset);
        // SAFETY: By the type's invariant; the range is within the packet.
        unsafe { helpers::skb_checksum_sum(self.skb.as_ptr(), offset, len) }
    }

    /// Whether the IPv4 transport checksum at `offset` is right, or need not be looked at.
    pub fn is_checksum_right4(&self, offset: u32, proto: u8) -> bool {
        // SAFETY: By the type's invariant.
        unsafe { helpers::skb_checksum_right4(self.skb.as_ptr(), offset, proto) }
    }

    /// The same for IPv6.
    pub fn is_checksum_right6(&self, offset: u32, proto: u8) -> bool {
        // SAFETY: By the type's invariant.
        unsafe { helpers::skb_checksum_right6(self.skb.as_ptr(), offset, proto) }
    }

    /// Leaves it to the device to sum all from `start` on, and put that `at` bytes behind `start`.
    pub fn set_checksum_partial(&mut self, start: u32, at: u16) {
        // SAFETY: By the type's invariant.
        unsafe { helpers::skb_checksum_partial(self.skb.as_ptr(), start, at) };
    }

    // ---- what can be done with it ----

    /// Does not split it when it is too long for the way out: the sender was told already.
    #[inline]
    pub fn set_ignore_df(&mut self) {
        self.headers_mut().set_ignore_df(1);
    }

    /// Whether it is longer than `mtu`, counting what segmentation will make of it.
    #[inline]
    pub fn exceeds_mtu(&self, mtu: u32) -> bool {
        // SAFETY: By the type's invariant.
        self.len() > mtu && unsafe { helpers::skb_exceeds_mtu(self.skb.as_ptr(), mtu) }
    }

    /// Routes a reply of this host or a forwarded one again, as if it had been sent from here.
    /// IPv4 only.
    #[inline]
    pub fn reroute4(&mut self) -> Result {
        if u32::from(self.state.pf) != raw::NFPROTO_IPV4 {
            return Err(EAFNOSUPPORT);
        }
        // SAFETY: By the type's invariant.
        to_result(unsafe { helpers::skb_reroute4(self.net().as_ptr(), self.skb.as_ptr()) })
    }

    /// The same for IPv6.
    #[inline]
    pub fn reroute6(&mut self) -> Result {
        if u32::from(self.state.pf) != raw::NFPROTO_IPV6 {
            return Err(EAFNOSUPPORT);
        }
        // SAFETY: By the type's invariant.
        to_result(unsafe { helpers::skb_reroute6(self.net().as_ptr(), self.skb.as_ptr()) })
    }

    /// Length of the largest part that an IPv6 packet was put together from, 0 if it came as a
    /// whole.
    #[inline]
    pub fn largest_part6(&self) -> u32 {
        let cb = (&raw const self.skb().cb).cast::<raw::inet6_skb_parm>();
        // SAFETY: Bytes of the packet, large enough, of a type that has any value.
        unsafe { (&raw const (*cb).frag_max_size).read_unaligned() }.into()
    }

    /// Tells the sender of an IPv6 packet.
    pub fn send_icmp6(&mut self, kind: u8, code: u8, info: u32) {
        // SAFETY: By the type's invariant.
        unsafe {
            helpers::icmp_send6(self.net().as_ptr(), self.skb.as_ptr(), kind, code, info);
        }
    }

    /// Tells the sender of an IPv6 packet that it passed too many routers, and counts that.
    pub fn send_hop_limit_exceeded6(&mut self) {
        // SAFETY: By the type's invariant; it has a route, or it would not be here.
        unsafe { helpers::icmp_send6_hop_limit(self.net().as_ptr(), self.skb.as_ptr()) };
    }

    /// Tells the sender of an IPv4 packet.
    pub fn send_icmp4(&self, kind: u8, code: u8, info: u32) {
        // SAFETY: By the type's invariant.
        unsafe { helpers::icmp_send4(self.skb.as_ptr(), kind.into(), code.into(), info) };
    }

    /// Tells the sender that there is no way to the destination.
    pub fn link_failure(&mut self) {
        // SAFETY: By the type's invariant; it has a route, or it would not be here.
        unsafe { helpers::skb_link_failure(self.skb.as_ptr()) };
    }

    /// Tells a local socket, whose packet this is, how long those to its destination may be; does
    /// nothing about packets from outside.
    #[inline]
    pub fn tell_socket_mtu(&self, mtu: u32) {
        if !self.has_dev() && !self.skb().sk.is_null() {
            // SAFETY: By the type's invariant; it has a route.
            unsafe { helpers::skb_tell_socket_mtu(self.skb.as_ptr(), mtu) };
        }
    }

    /// Counts an IPv4 header error.
    pub fn count_header_error4(&self) {
        // SAFETY: Valid during the call.
        unsafe { helpers::count_hdr_error4(self.net().as_ptr()) };
    }

    /// Takes it out of connection tracking.
    #[inline]
    pub fn untrack(&mut self) {
        // The low bits are the state; no entry, nothing to do.
        if self.skb()._nfct & !7 != 0 {
            // SAFETY: By the type's invariant.
            unsafe { helpers::skb_untrack(self.skb.as_ptr()) };
        }
    }

    /// Whether connection tracking has a confirmed entry for it.
    pub fn is_ct_confirmed(&self) -> bool {
        // SAFETY: By the type's invariant.
        self.skb()._nfct & !7 != 0 && unsafe { helpers::skb_ct_confirmed(self.skb.as_ptr()) }
    }

    /// Forgets the socket that an early lookup found for it.
    #[inline]
    pub fn orphan(&mut self) {
        if !self.skb().sk.is_null() {
            // SAFETY: By the type's invariant.
            unsafe { helpers::skb_orphan(self.skb.as_ptr()) };
        }
    }

    /// Puts the fragments of an IPv4 datagram together. `Err` if more are to come, or they were
    /// bad: the packet is gone.
    pub fn defrag4(self, user: DefragUser) -> Result<Self, Verdict<'a>> {
        let user = match user {
            DefragUser::In => 0,
            DefragUser::Out => 1,
            DefragUser::Forward => 2,
        };
        // SAFETY: By the type's invariant; on failure the packet was taken.
        if unsafe { helpers::ip_defrag4(self.net().as_ptr(), self.skb.as_ptr(), user) } != 0 {
            return Err(Verdict(raw::NF_STOLEN, PhantomData));
        }
        Ok(self)
    }

    /// Lets it go on.
    #[inline]
    pub fn accept(self) -> Verdict<'a> {
        Verdict(raw::NF_ACCEPT, PhantomData)
    }

    /// Has netfilter drop it.
    pub fn drop(self) -> Verdict<'a> {
        Verdict(raw::NF_DROP, PhantomData)
    }

    /// Frees it here.
    pub fn free(self) -> Verdict<'a> {
        // SAFETY: By the type's invariant we own it; NF_STOLEN says that it is gone.
        unsafe { helpers::kfree_skb(self.skb.as_ptr()) };
        Verdict(raw::NF_STOLEN, PhantomData)
    }

    /// Sends it along `route`, as this host's own.
    #[inline(always)]
    pub fn send4(mut self, route: Ref<'_, Route>, _rcu: Rcu<'_>) -> Verdict<'a> {
        self.set_route(route);
        // SAFETY: By the type's invariant we own it; the verdict says that it is gone.
        unsafe { helpers::skb_send4(self.net().as_ptr(), self.skb.as_ptr()) };
        self.gone()
    }

    /// The same with an IPv6 route.
    #[inline(always)]
    pub fn send6(mut self, route: Ref<'_, Route6>, _rcu: Rcu<'_>) -> Verdict<'a> {
        self.set_route(route);
        // SAFETY: By the type's invariant we own it; the verdict says that it is gone.
        unsafe { helpers::skb_send6(self.net().as_ptr(), self.skb.as_ptr()) };
        self.gone()
    }

    /// What netfilter is told when a packet was sent or freed.
    #[inline]
    pub(crate) fn gone(self) -> Verdict<'a> {
        Verdict(raw::NF_STOLEN, PhantomData)
    }

    /// Gives it another route, for as long as RCU is held.
    #[inline(always)]
    pub(crate) fn set_route<P: Path + Object>(&mut self, route: Ref<'_, P>) {
        let old = self.refdst();
        if old & NOREF == 0 {
            // SAFETY: The packet held it.
            unsafe { raw::dst_release((old & !NOREF) as *mut raw::dst_entry) };
        }
        self.headers_mut().set_slow_gro(1);
        let skb = self.skb_mut();
        // It does not hold the new one: RCU keeps that until the packet is sent, or queued by who
        // then takes a reference.
        skb.__bindgen_anon_3.__bindgen_anon_1._skb_refdst =
            route.dst().as_ptr().addr() as c_ulong | NOREF;
    }
}

/// Marks a route that the packet does not hold.
const NOREF: c_ulong = raw::KNET_SKB_DST_NOREF as c_ulong;
