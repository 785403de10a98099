// SPDX-License-Identifier: GPL-2.0
//! IPv6 routes to where packets are sent.
//!
//! C header: [`include/net/ip6_route.h`](srctree/include/net/ip6_route.h)

use crate::{
    net::Net,
    raw::helpers,
    rcu::{Arc, Object, Rcu},
    route::{AddrType, Dst, Path, Purpose},
    Gfp,
};
use kernel::prelude::*;

/// An IPv6 address, in network order.
pub type In6 = [u32; 4];

/// An IPv6 route, and the source address it gives.
///
/// Released a grace period after the last reference: packets under way use it without one.
///
/// # Invariants
///
/// `dst` is of an IPv6 route.
pub struct Route6 {
    dst: Dst,
    /// What tells whether the routing table has changed.
    cookie: u32,
    is_local: bool,
    saddr: In6,
}

impl Object for Route6 {}

impl Route6 {
    /// Looks up the way to `daddr`. Packets that begin at this host may be transformed by IPsec.
    /// Any context, RCU or softirqs off.
    ///
    /// # Errors
    ///
    /// `EHOSTUNREACH` without a route or source address, `ENOMEM`.
    pub fn lookup(net: &Net, daddr: &In6, purpose: Purpose) -> Result<Arc<Self>> {
        let (mut saddr, mut cookie, mut is_local) = ([0; 4], 0, false);
        // SAFETY: The namespace is valid; addresses are 16 bytes; the last three are only written.
        let dst = unsafe {
            helpers::route_output6(
                net.as_ptr(),
                daddr.as_ptr(),
                purpose == Purpose::BoundSource,
                purpose == Purpose::NextHop,
                saddr.as_mut_ptr(),
                &mut cookie,
                &mut is_local,
            )
        };
        // SAFETY: The lookup gave us a reference.
        let dst = unsafe { Dst::from_raw(dst) }.ok_or(EHOSTUNREACH)?;
        // INVARIANT: Of IPv6.
        let route = Self {
            dst,
            cookie,
            is_local,
            saddr,
        };
        Ok(Arc::new(route, Gfp::Atomic)?)
    }

    /// The source address for packets that this host sends along it.
    pub fn saddr(&self) -> &In6 {
        &self.saddr
    }
}

impl Path for Route6 {
    #[inline]
    fn dst(&self) -> &Dst {
        &self.dst
    }

    #[inline]
    fn is_current(&self, _net: &Net) -> bool {
        // SAFETY: By the type's invariant.
        unsafe { helpers::dst_check6(self.dst.as_ptr(), self.cookie) }
    }

    #[inline]
    fn is_local(&self) -> bool {
        self.is_local
    }

    #[inline]
    fn mtu(&self, _rcu: Rcu<'_>) -> u32 {
        // SAFETY: By the type's invariant; RCU keeps the device.
        unsafe { helpers::dst_mtu6(self.dst.as_ptr()) }
    }
}

/// What kind of address `addr` is. Addresses that are good on one link only are not
/// [`AddrType::Unicast`].
pub fn addr_type6(net: &Net, addr: &In6) -> AddrType {
    // SAFETY: The namespace is valid, and the address has 16 bytes.
    match unsafe { helpers::addr_type6(net.as_ptr(), addr.as_ptr()) } {
        1 => AddrType::Unicast,
        2 => AddrType::Local,
        _ => AddrType::Other,
    }
}
