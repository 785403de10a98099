// SPDX-License-Identifier: GPL-2.0
//! IPv4 routes to where packets are sent.
//!
//! C header: [`include/net/route.h`](srctree/include/net/route.h)

use crate::{
    net::Net,
    raw,
    raw::helpers,
    rcu::{Arc, Object, Rcu},
    Gfp,
};
use core::ptr::NonNull;
use kernel::prelude::*;

/// A counted `dst_entry`: what routes of both families are.
///
/// # Invariants
///
/// Owns a reference.
pub struct Dst(NonNull<raw::dst_entry>);

// SAFETY: Routes are shared between CPUs.
unsafe impl Send for Dst {}
// SAFETY: As above.
unsafe impl Sync for Dst {}

impl Dst {
    /// # Safety
    ///
    /// Gives a reference away, if it is not null.
    pub(crate) unsafe fn from_raw(dst: *mut c_void) -> Option<Self> {
        // INVARIANT: By the requirement.
        NonNull::new(dst.cast()).map(Self)
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut raw::dst_entry {
        self.0.as_ptr()
    }
}

impl Drop for Dst {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant the reference is ours.
        unsafe { raw::dst_release(self.as_ptr()) };
    }
}

/// What routes of both families can tell.
pub trait Path {
    /// What they are.
    fn dst(&self) -> &Dst;
    /// Whether it still holds.
    fn is_current(&self, net: &Net) -> bool;
    /// Whether it ends at this host.
    fn is_local(&self) -> bool;
    /// Longest packet it takes.
    fn mtu(&self, rcu: Rcu<'_>) -> u32;

    /// Room the device wants for its link layer header.
    #[inline]
    fn header_room(&self, _rcu: Rcu<'_>) -> u32 {
        // SAFETY: By `Dst`'s invariant; a route's device is never null, and RCU keeps it.
        unsafe { helpers::dst_header_room(self.dst().as_ptr()) }
    }

    /// Room the device wants before a packet that this host makes.
    #[inline]
    fn reserved_room(&self, _rcu: Rcu<'_>) -> u32 {
        // SAFETY: As above.
        unsafe { helpers::dst_reserved_room(self.dst().as_ptr()) }
    }

    /// Whether its device is going down: such a route must not be kept.
    fn is_dev_down(&self, _rcu: Rcu<'_>) -> bool {
        // SAFETY: By `Dst`'s invariant; RCU keeps the device.
        unsafe { helpers::dst_dev_down(self.dst().as_ptr()) }
    }

    /// Whether it leads out through the device with this index.
    fn uses_dev(&self, ifindex: i32, _rcu: Rcu<'_>) -> bool {
        // SAFETY: As above.
        unsafe { helpers::dst_ifindex(self.dst().as_ptr()) == ifindex }
    }
}

/// A route, and the source address it gives.
///
/// Released a grace period after the last reference: packets under way use it without one.
///
/// # Invariants
///
/// `dst` is the beginning of an `rtable`.
pub struct Route {
    dst: Dst,
    saddr: u32,
}

impl Object for Route {}

/// What a route is looked up for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Packets to that address.
    Plain,
    /// Packets to another address that go to the host with that address on the link.
    NextHop,
    /// Packets that begin with the source address that the route gives: the source decides too.
    BoundSource,
}

impl Route {
    /// Looks up the way to `daddr` (network order). Any context, RCU or softirqs off.
    ///
    /// # Errors
    ///
    /// `EHOSTUNREACH` without a route, `ENOMEM`.
    pub fn lookup(net: &Net, daddr: u32, purpose: Purpose) -> Result<Arc<Self>> {
        let mut saddr = 0;
        let via_known = purpose == Purpose::NextHop;
        let bind = purpose == Purpose::BoundSource;
        // SAFETY: The namespace is valid; `saddr` is only written to.
        let dst =
            unsafe { helpers::route_output4(net.as_ptr(), daddr, via_known, bind, &mut saddr) };
        // SAFETY: The lookup gave us a reference.
        let dst = unsafe { Dst::from_raw(dst) }.ok_or(EHOSTUNREACH)?;
        // INVARIANT: Of IPv4.
        Ok(Arc::new(Self { dst, saddr }, Gfp::Atomic)?)
    }

    #[inline]
    fn rt(&self) -> &raw::rtable {
        // SAFETY: By the type's invariant.
        unsafe { &*self.dst.as_ptr().cast() }
    }

    /// The source address for packets that this host sends along it, in network order.
    pub fn saddr(&self) -> u32 {
        self.saddr
    }
}

impl Path for Route {
    #[inline]
    fn dst(&self) -> &Dst {
        &self.dst
    }

    /// Whether it still holds: the same test as `ipv4_dst_check()`, without the call.
    #[inline]
    fn is_current(&self, net: &Net) -> bool {
        // SAFETY: By the type's invariant; the field is changed by others at any time.
        let obsolete = unsafe { (&raw const (*self.dst.as_ptr()).obsolete).read_volatile() };
        // SAFETY: The namespace is valid; the field is changed by others at any time.
        let genid = unsafe { (&raw const (*net.as_ptr()).ipv4.rt_genid.counter).read_volatile() };
        obsolete == FORCE_CHECK && self.rt().rt_genid == genid
    }

    #[inline]
    fn is_local(&self) -> bool {
        self.rt().rt_flags & raw::KNET_RTCF_LOCAL != 0
    }

    #[inline]
    fn mtu(&self, _rcu: Rcu<'_>) -> u32 {
        // SAFETY: By the type's invariant; RCU keeps the device.
        unsafe { helpers::dst_mtu4(self.dst.as_ptr()) }
    }
}

/// What kind of address this is in a namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddrType {
    /// Some host.
    Unicast,
    /// This host.
    Local,
    /// Broadcast, multicast or none.
    Other,
}

/// What kind of address `addr` (network order) is.
pub fn addr_type4(net: &Net, addr: u32) -> AddrType {
    // SAFETY: The namespace is valid.
    match unsafe { raw::inet_addr_type(net.as_ptr(), addr) } {
        raw::KNET_RTN_UNICAST => AddrType::Unicast,
        raw::KNET_RTN_LOCAL => AddrType::Local,
        _ => AddrType::Other,
    }
}

/// `DST_OBSOLETE_FORCE_CHK`: valid as long as the namespace's routes do not change.
const FORCE_CHECK: c_short = -1;
