// SPDX-License-Identifier: GPL-2.0
//! Connection tracking: the entries of packets, and those that are to go.
//!
//! C header: [`include/net/netfilter/nf_conntrack.h`](srctree/include/net/netfilter/nf_conntrack.h)

use crate::{
    net::Net,
    raw,
    raw::helpers,
    rcu::{self, Arc, Object},
    skb::{Packet, Verdict},
    tunnel::Outer,
};
use core::{
    marker::PhantomData,
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

/// One end of a flow.
#[derive(Clone, Copy)]
pub struct Peer<'a> {
    /// Address; an IPv4 address has the first 4 bytes.
    pub addr: &'a [u8; 16],
    /// Port, in network byte order.
    pub port: u16,
}

impl Packet<'_> {
    /// If it is the first of a flow, replies are expected to come from `peer`.
    pub fn expect_replies_from(&mut self, peer: Peer<'_>) {
        self.alter_reply(true, peer);
    }

    /// If it is the first of a flow, replies are expected to go to `peer`.
    pub fn expect_replies_to(&mut self, peer: Peer<'_>) {
        self.alter_reply(false, peer);
    }

    fn alter_reply(&mut self, is_source: bool, peer: Peer<'_>) {
        let addr = peer.addr.as_ptr();
        // SAFETY: By the type's invariant; the address has 16 bytes.
        unsafe { helpers::skb_ct_alter_reply(self.as_ptr(), is_source, addr, peer.port) };
    }
}

impl<'a> Outer<'a> {
    /// Puts the entry of the packet inside into the table, as nothing does later. `Err`: the packet
    /// is gone.
    pub fn confirm(self) -> Result<Self, Verdict<'a>> {
        // SAFETY: By the type's invariant.
        if unsafe { helpers::skb_ct_confirm(self.as_ptr()) } == raw::NF_ACCEPT as i32 {
            Ok(self)
        } else {
            Err(self.free())
        }
    }
}

/// Connection tracking of a namespace, for who has no packet of it; a field of its state `T`.
///
/// # Invariants
///
/// While `net` is not null, the namespace exists, and goes a grace period after it was made null if
/// `used` is set.
pub struct Tracking {
    net: AtomicPtr<raw::net>,
    used: AtomicBool,
}

impl Tracking {
    /// Without a namespace.
    pub const fn new() -> Self {
        Self {
            net: AtomicPtr::new(ptr::null_mut()),
            used: AtomicBool::new(false),
        }
    }

    /// Makes it that of `net` until the result is dropped.
    pub fn open<'n, T: Object>(
        state: &Arc<T>,
        field: fn(&T) -> &Self,
        net: &'n Net,
    ) -> TrackingGate<'n, T> {
        // INVARIANT: Until the gate is dropped.
        field(state).net.store(net.as_ptr(), Ordering::SeqCst);
        TrackingGate {
            state: state.clone(),
            field,
            _p: PhantomData,
        }
    }

    /// Nobody needs it any more: from now on nothing is done.
    pub fn close(&self) {
        self.net.store(ptr::null_mut(), Ordering::SeqCst);
    }

    /// Removes the entry of a flow of TCP or the like, if there is one.
    pub fn forget(&self, is_ipv6: bool, proto: u8, src: Peer<'_>, dst: Peer<'_>) {
        let _guard = rcu::read_lock();
        // Either this sees the null, or the gate sees this and waits: all four are ordered.
        if !self.used.load(Ordering::SeqCst) {
            self.used.store(true, Ordering::SeqCst);
        }
        let net = self.net.load(Ordering::SeqCst);
        if net.is_null() {
            return;
        }
        let (s, d) = (src.addr.as_ptr(), dst.addr.as_ptr());
        // SAFETY: The namespace exists while RCU is held, by the type's invariant; addresses have 16
        // bytes.
        unsafe { helpers::ct_kill(net, is_ipv6, proto, s, src.port, d, dst.port) };
    }
}

impl Default for Tracking {
    fn default() -> Self {
        Self::new()
    }
}

/// Closes a [`Tracking`] when dropped.
pub struct TrackingGate<'n, T: Object> {
    state: Arc<T>,
    field: fn(&T) -> &Tracking,
    _p: PhantomData<&'n Net>,
}

impl<T: Object> Drop for TrackingGate<'_, T> {
    fn drop(&mut self) {
        let tracking = (self.field)(&self.state);
        tracking.close();
        if tracking.used.load(Ordering::SeqCst) {
            rcu::synchronize();
        }
    }
}
