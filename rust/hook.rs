// SPDX-License-Identifier: GPL-2.0
//! Netfilter hooks of one namespace.
//!
//! C header: [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h)

use crate::{
    net::Net,
    raw,
    rcu::{Arc, Inner, Object, Rcu, Ref},
    skb::{Packet, Verdict},
};
use core::marker::PhantomData;
use kernel::{error::to_result, new_mutex, prelude::*, sync::Mutex};

/// A hook of a `T`.
pub trait Hook<T: Object>: 'static {
    /// Called for each packet that has a route. Softirqs may be on.
    fn run<'a>(state: Ref<'a, T>, rcu: Rcu<'a>, packet: Packet<'a>) -> Verdict<'a>;
}

/// Where packets can be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Point {
    /// To this host.
    LocalIn = raw::nf_inet_hooks_NF_INET_LOCAL_IN,
    /// Through this host.
    Forward = raw::nf_inet_hooks_NF_INET_FORWARD,
    /// From this host.
    LocalOut = raw::nf_inet_hooks_NF_INET_LOCAL_OUT,
}

/// A hook, where it is and when.
pub struct Spec<T> {
    f: unsafe extern "C" fn(*mut c_void, *mut raw::sk_buff, *const raw::nf_hook_state) -> c_uint,
    pf: u8,
    point: Point,
    priority: i32,
    _p: PhantomData<fn(&T)>,
}

impl<T: Object> Spec<T> {
    /// `H` for IPv4 packets at `point`, after hooks with a lower `priority`.
    pub const fn ipv4<H: Hook<T>>(point: Point, priority: i32) -> Self {
        Self {
            f: callback::<T, H>,
            pf: raw::NFPROTO_IPV4 as u8,
            point,
            priority,
            _p: PhantomData,
        }
    }

    /// `H` for IPv6 packets at `point`, after hooks with a lower `priority`.
    pub const fn ipv6<H: Hook<T>>(point: Point, priority: i32) -> Self {
        Self {
            f: callback::<T, H>,
            pf: raw::NFPROTO_IPV6 as u8,
            point,
            priority,
            _p: PhantomData,
        }
    }
}

/// # Safety
///
/// Called by netfilter, with `private` as `Hooks::register` gave it.
unsafe extern "C" fn callback<T: Object, H: Hook<T>>(
    private: *mut c_void,
    skb: *mut raw::sk_buff,
    state: *const raw::nf_hook_state,
) -> c_uint {
    // SAFETY: netfilter calls hooks under RCU.
    let rcu = unsafe { Rcu::assume() };
    // SAFETY: `Hooks` holds a count until the hooks are unregistered, and RCU readers may use what
    // it held for a grace period more.
    let ns = unsafe { Ref::from_raw(private.cast::<Inner<T>>()) };
    // SAFETY: Valid for the call.
    let state = unsafe { &*state };
    // SAFETY: As netfilter gave it.
    match unsafe { Packet::new(skb, state) } {
        Some(packet) => H::run(ns, rcu, packet).0,
        // Without a route: nothing for hooks that route.
        None => raw::NF_ACCEPT,
    }
}

/// What netfilter holds pointers to until a grace period after unregistering.
struct Ops<T: Object> {
    ops: KVec<raw::nf_hook_ops>,
    _state: Arc<T>,
}

// SAFETY: Not changed while registered.
unsafe impl<T: Object> Send for Ops<T> {}
// SAFETY: As above.
unsafe impl<T: Object> Sync for Ops<T> {}
impl<T: Object> Object for Ops<T> {}

/// Registered hooks, until dropped.
///
/// # Invariants
///
/// `ops` are registered in `net`, which exists.
struct Hooks<T: Object> {
    ops: Arc<Ops<T>>,
    net: *mut raw::net,
}

/// IPv6 fragments are put together as long as this is there.
///
/// # Invariants
///
/// Has one use of nf_defrag_ipv6 in the namespace, which exists.
struct Defrag6(*mut raw::net);

impl Defrag6 {
    /// # Safety
    ///
    /// The result is dropped before `net` is gone.
    unsafe fn new(net: *mut raw::net) -> Result<Self> {
        // SAFETY: The namespace exists.
        to_result(unsafe { raw::nf_defrag_ipv6_enable(net) })?;
        // INVARIANT: Just got.
        Ok(Self(net))
    }
}

impl Drop for Defrag6 {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { raw::nf_defrag_ipv6_disable(self.0) };
    }
}

// SAFETY: Can be unregistered from everywhere.
unsafe impl<T: Object> Send for Hooks<T> {}

impl<T: Object> Hooks<T> {
    /// # Safety
    ///
    /// The result is dropped before `net` is gone.
    unsafe fn register(net: *mut raw::net, state: Arc<T>, specs: &[Spec<T>]) -> Result<Self> {
        let private = state.as_ref().0 as *const Inner<T>;
        let mut ops = KVec::with_capacity(specs.len(), GFP_KERNEL)?;
        for spec in specs {
            let op = raw::nf_hook_ops {
                hook: Some(spec.f),
                priv_: private.cast_mut().cast(),
                pf: spec.pf,
                hooknum: spec.point as c_uint,
                priority: spec.priority,
                ..Default::default()
            };
            ops.push(op, GFP_KERNEL)?;
        }
        let ops = Arc::new(Ops { ops, _state: state }, crate::Gfp::Kernel)?;
        // SAFETY: The table stays until a grace period after it is unregistered.
        to_result(unsafe {
            raw::nf_register_net_hooks(net, ops.ops.as_ptr(), ops.ops.len() as c_uint)
        })?;
        // INVARIANT: Just registered.
        Ok(Self { ops, net })
    }
}

impl<T: Object> Drop for Hooks<T> {
    fn drop(&mut self) {
        // SAFETY: Registered, by the type's invariant.
        unsafe {
            raw::nf_unregister_net_hooks(
                self.net,
                self.ops.ops.as_ptr(),
                self.ops.ops.len() as c_uint,
            )
        };
    }
}

/// What an open slot holds, in the order in which it goes.
struct Open<T: Object> {
    hooks: Option<Hooks<T>>,
    defrag6: Option<Defrag6>,
    /// The namespace, which exists.
    net: *mut raw::net,
}

// SAFETY: The pointer is only used where the namespace is known to exist.
unsafe impl<T: Object> Send for Open<T> {}

/// The hooks of a namespace's state `T`, which come and go with what is configured; a field of `T`.
#[pin_data]
pub struct HookSlot<T: Object> {
    #[pin]
    open: Mutex<Option<Open<T>>>,
}

impl<T: Object> HookSlot<T> {
    /// A slot that is not open.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            open <- new_mutex!(None, "knet->hooks"),
        })
    }

    /// Lets hooks be registered in `net` until the result is dropped.
    pub fn open<'n>(state: &Arc<T>, slot: fn(&T) -> &Self, net: &'n Net) -> HookGate<'n, T> {
        *slot(state).open.lock() = Some(Open {
            hooks: None,
            defrag6: None,
            net: net.as_ptr(),
        });
        HookGate {
            state: state.clone(),
            slot,
            _p: PhantomData,
        }
    }

    /// Registers `specs`, called with `state`, if none are. Sleeps.
    ///
    /// # Errors
    ///
    /// `ESHUTDOWN` if the slot is not open; those of registering.
    pub fn register(&self, state: &Arc<T>, specs: &[Spec<T>]) -> Result {
        let mut slot = self.open.lock();
        let Some(open) = &mut *slot else {
            return Err(ESHUTDOWN);
        };
        if open.hooks.is_none() {
            // SAFETY: The gate closes the slot, and that drops the hooks, before the namespace is
            // gone.
            open.hooks = Some(unsafe { Hooks::register(open.net, state.clone(), specs)? });
        }
        Ok(())
    }

    /// From now on fragments of IPv6 packets are put together before hooks, until the slot is
    /// closed. Sleeps.
    ///
    /// # Errors
    ///
    /// As for [`Self::register`].
    pub fn defrag6(&self) -> Result {
        let mut slot = self.open.lock();
        let Some(open) = &mut *slot else {
            return Err(ESHUTDOWN);
        };
        if open.defrag6.is_none() {
            // SAFETY: As for hooks.
            open.defrag6 = Some(unsafe { Defrag6::new(open.net)? });
        }
        Ok(())
    }

    /// Unregisters the hooks. They may run for a grace period more. Sleeps.
    pub fn unregister(&self) {
        if let Some(open) = &mut *self.open.lock() {
            open.hooks = None;
        }
    }

    /// Unregisters the hooks, for good. Sleeps.
    pub fn close(&self) {
        *self.open.lock() = None;
    }
}

/// Closes a [`HookSlot`] when dropped.
pub struct HookGate<'n, T: Object> {
    state: Arc<T>,
    slot: fn(&T) -> &HookSlot<T>,
    _p: PhantomData<&'n Net>,
}

impl<T: Object> Drop for HookGate<'_, T> {
    fn drop(&mut self) {
        (self.slot)(&self.state).close();
    }
}
