// SPDX-License-Identifier: GPL-2.0
//! State in each network namespace: one object reached through `net->ipvs`, and whatever other
//! modules keep beside it.
//!
//! C header: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)

use crate::{
    net::Net,
    raw,
    raw::helpers,
    rcu::{self, Arc, Object, Rcu, Ref, Slot},
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::offset_of,
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};
use kernel::{
    error::{from_result, to_result},
    prelude::*,
};

/// What a module does with namespaces that come and go. One module at a time can have
/// `net->ipvs`; `init` is called for each namespace that exists or is made while a [`Registration`]
/// exists, and the others for each that goes, or for all when the registration goes.
///
/// All are called in process context, in this order when a namespace goes: `device_exit` for all
/// that go together, `exit_services` for all, then for one after the other what `attach` gave is
/// dropped, and `exit` is called.
pub trait PerNet: Sized + 'static {
    /// What each namespace has.
    type State: Object;
    /// What is registered for a namespace (files, sysctls) and must not outlive it.
    type Attached<'n>: Send;

    /// The static that stands for this type's use of `net->ipvs`. Always the same one.
    fn key() -> &'static Key<Self>;

    /// Makes the state of a new namespace.
    fn init(net: &Net) -> Result<Arc<Self::State>>;

    /// Makes the state available to users. [`of`] finds it already. When this fails, `exit` follows.
    fn attach<'n>(state: &Arc<Self::State>, net: &'n Net) -> Result<Self::Attached<'n>>;

    /// First phase: no packet and no daemon uses `net` after this. Devices still exist.
    fn device_exit(_state: &Arc<Self::State>, _net: &Net) {}

    /// Second phase: what users configured goes.
    fn exit_services(_state: &Arc<Self::State>, _net: &Net) {}

    /// Third phase: all the rest, timers and works included. After it [`of`] finds nothing.
    fn exit(_state: &Arc<Self::State>, _net: &Net) {}
}

/// A `pernet_operations` with an id, in a static.
///
/// # Invariants
///
/// Who turned `taken` from false to true may change the rest, until it is registered.
struct Ops {
    taken: AtomicBool,
    id: UnsafeCell<c_uint>,
    ops: UnsafeCell<raw::pernet_operations>,
}

// SAFETY: Accesses are ordered by `taken`, and by the kernel while it is registered.
unsafe impl Sync for Ops {}

impl Ops {
    const fn new(ops: raw::pernet_operations) -> Self {
        Self {
            taken: AtomicBool::new(false),
            id: UnsafeCell::new(0),
            ops: UnsafeCell::new(ops),
        }
    }

    /// Registers it. Fails when it is, or when a namespace fails to initialize.
    fn register(&'static self) -> Result {
        if self.taken.swap(true, Ordering::Acquire) {
            return Err(EBUSY);
        }
        let ops = self.ops.get();
        // SAFETY: Not registered, and nobody else changes it, by the type's invariant.
        unsafe {
            (*ops).id = self.id.get();
            (*ops).size = size_of::<*mut c_void>();
        }
        // SAFETY: Static, with valid callbacks.
        to_result(unsafe { raw::register_pernet_subsys(ops) })
            .inspect_err(|_| self.taken.store(false, Ordering::Release))
    }

    /// # Safety
    ///
    /// It is registered.
    unsafe fn unregister(&'static self) {
        // SAFETY: By the requirement.
        unsafe { raw::unregister_pernet_subsys(self.ops.get()) };
        self.taken.store(false, Ordering::Release);
    }

    /// The namespace's pointer that belongs to this.
    ///
    /// # Safety
    ///
    /// Only called while the kernel runs one of the callbacks for `net`.
    unsafe fn pointer(&self, net: &Net) -> *mut *mut c_void {
        // SAFETY: Set before the callbacks can run, and not changed since.
        let id = unsafe { *self.id.get() };
        // SAFETY: In callbacks the namespace has a pointer-sized area for the id, zeroed at first.
        unsafe { helpers::net_generic(net.as_ptr(), id) }.cast()
    }

    /// Keeps `value` for the namespace.
    ///
    /// # Safety
    ///
    /// As for `pointer`; `take` with the same type, but for lifetimes, follows before `net` is gone.
    unsafe fn put<T>(&self, net: &Net, value: T) -> Result {
        let value = KBox::new(value, GFP_KERNEL)?;
        // SAFETY: By the requirement.
        let p = unsafe { self.pointer(net) };
        // SAFETY: Ours alone while a callback runs.
        unsafe { *p = KBox::into_raw(value).cast() };
        Ok(())
    }

    /// # Safety
    ///
    /// As for `pointer`; what was `put` is a `T`.
    unsafe fn take<T>(&self, net: &Net) -> Option<KBox<T>> {
        // SAFETY: By the requirement.
        let p = unsafe { self.pointer(net) };
        if p.is_null() {
            return None;
        }
        // SAFETY: Ours alone while a callback runs.
        let value = unsafe { ptr::replace(p, ptr::null_mut()) };
        // SAFETY: It comes from `KBox::into_raw` in `put`.
        (!value.is_null()).then(|| unsafe { KBox::from_raw(value.cast()) })
    }
}

/// The claim of a [`PerNet`] on `net->ipvs`, to be put in a static.
///
/// # Invariants
///
/// While `active`, all `net->ipvs` are null or own one count of a `P::State`. That it was is still
/// true for RCU readers that began before it was cleared.
pub struct Key<P: PerNet> {
    active: AtomicBool,
    subsys: Ops,
    device: UnsafeCell<raw::pernet_operations>,
    _p: PhantomData<fn() -> P>,
}

// SAFETY: `device` is used by the kernel only, once per claim.
unsafe impl<P: PerNet> Sync for Key<P> {}

/// The key that has `net->ipvs`, or null.
static CLAIMED: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

impl<P: PerNet> Key<P> {
    /// The one that has `net->ipvs`.
    ///
    /// # Safety
    ///
    /// Only called in callbacks of `P`.
    unsafe fn claimed() -> &'static Self {
        // SAFETY: The callbacks of `P` only run while `Registration` has put a key of `P` there,
        // which is static.
        unsafe { &*CLAIMED.load(Ordering::Acquire).cast() }
    }

    /// A key that is not registered.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            active: AtomicBool::new(false),
            subsys: Ops::new(raw::pernet_operations {
                init: Some(init::<P>),
                exit_batch: Some(exit_batch::<P>),
                ..pin_init::zeroed()
            }),
            device: UnsafeCell::new(raw::pernet_operations {
                exit_batch: Some(device_exit_batch::<P>),
                ..pin_init::zeroed()
            }),
            _p: PhantomData,
        }
    }
}

/// `net->ipvs`.
///
/// # Safety
///
/// The result is only used under RCU by who saw `active` under the same lock, or in callbacks of `P`.
#[inline]
unsafe fn slot<P: PerNet>(net: &Net) -> &Slot<P::State> {
    // SAFETY: `net` is valid.
    let slot = unsafe { &raw mut (*net.as_ptr()).ipvs };
    // SAFETY: By the invariant of `Key` it is what a `Slot` is; everyone else uses it through here.
    unsafe { &*slot.cast() }
}

/// The state of `net`. None if `P` is not registered, or `net` is just made or gone.
#[inline]
pub fn of<'g, P: PerNet>(net: &Net, rcu: Rcu<'g>) -> Option<Ref<'g, P::State>> {
    if !P::key().active.load(Ordering::Acquire) {
        return None;
    }
    // SAFETY: Active, and this is under RCU.
    unsafe { slot::<P>(net) }.load(rcu)
}

/// A counted reference to the state of `net`, see [`of`].
pub fn get<P: PerNet>(net: &Net) -> Option<Arc<P::State>> {
    let guard = rcu::read_lock();
    of::<P>(net, guard.rcu())?.get()
}

/// The namespaces that go, of a callback for many.
///
/// # Safety
///
/// `list` is what the kernel gave to an `exit_batch` that is running.
unsafe fn each_net(list: *mut raw::list_head, mut f: impl FnMut(&Net)) {
    // SAFETY: Valid during the callback.
    let mut pos = unsafe { (*list).next };
    while !ptr::eq(pos, list) {
        let net = pos.wrapping_byte_sub(offset_of!(raw::net, exit_list));
        // SAFETY: The list links `exit_list` of namespaces, which are valid during the callback.
        f(unsafe { Net::from_raw(net.cast()) });
        // SAFETY: As above; the list does not change.
        pos = unsafe { (*pos).next };
    }
}

/// # Safety
///
/// Called by the kernel for a namespace that gets its state.
unsafe extern "C" fn init<P: PerNet>(net: *mut raw::net) -> c_int {
    // SAFETY: Valid during the call.
    let net = unsafe { Net::from_raw(net) };
    // SAFETY: This is a callback of `P`.
    let (key, slot) = unsafe { (Key::<P>::claimed(), slot::<P>(net)) };
    let setup = || {
        if !slot.is_empty() {
            return Err(EBUSY);
        }
        let state = P::init(net)?;
        slot.swap(Some(state.clone()));
        let attached = P::attach(&state, net).and_then(|a| {
            // SAFETY: This is a callback for `net`; `exit_batch` takes it out.
            unsafe { key.subsys.put(net, a) }
        });
        if attached.is_err() {
            P::exit(&state, net);
            slot.swap(None);
        }
        attached
    };
    from_result(|| setup().map(|()| 0))
}

/// # Safety
///
/// Called by the kernel for namespaces that go.
unsafe extern "C" fn exit_batch<P: PerNet>(list: *mut raw::list_head) {
    // SAFETY: This is a callback of `P`.
    let key = unsafe { Key::<P>::claimed() };
    let services = |net: &Net| {
        // SAFETY: As above.
        if let Some(state) = unsafe { slot::<P>(net) }.get() {
            P::exit_services(&state, net);
        }
    };
    // SAFETY: By the requirement.
    unsafe { each_net(list, services) };
    let rest = |net: &Net| {
        // SAFETY: This is a callback for `net`; it was put as this type, and lives no longer than
        // `net` because it is dropped here.
        drop(unsafe { key.subsys.take::<P::Attached<'_>>(net) });
        // SAFETY: This is a callback of `P`.
        let slot = unsafe { slot::<P>(net) };
        if let Some(state) = slot.get() {
            P::exit(&state, net);
        }
        slot.swap(None);
    };
    // SAFETY: By the requirement.
    unsafe { each_net(list, rest) };
}

/// # Safety
///
/// Called by the kernel for namespaces that go, while their devices exist.
unsafe extern "C" fn device_exit_batch<P: PerNet>(list: *mut raw::list_head) {
    let stop = |net: &Net| {
        // SAFETY: This is a callback of `P`.
        if let Some(state) = unsafe { slot::<P>(net) }.get() {
            P::device_exit(&state, net);
        }
    };
    // SAFETY: By the requirement.
    unsafe { each_net(list, stop) };
}

/// `P` is told of namespaces until this is dropped. Dropping sleeps.
///
/// # Invariants
///
/// The operations of the key are registered, and it has `net->ipvs`.
pub struct Registration<P: PerNet>(&'static Key<P>);

impl<P: PerNet> Registration<P> {
    /// Gives all namespaces their state.
    ///
    /// # Errors
    ///
    /// `EBUSY` if another module uses `net->ipvs`; those of [`PerNet::init`] and [`PerNet::attach`].
    pub fn new() -> Result<Self> {
        let key = P::key();
        let claim = Claim::new(key)?;
        // SAFETY: A static that always exists.
        let other = unsafe { (&raw const raw::init_net.ipvs).read_volatile() };
        if !other.is_null() {
            pr_err!("another ip_vs is at work: unload it first\n");
            return Err(EBUSY);
        }
        // INVARIANT: All are null: those of other namespaces are set and cleared together with that
        // of `init_net`, and `init` refuses one that is not.
        key.active.store(true, Ordering::Release);
        key.subsys.register()?;
        // SAFETY: Static, with a valid callback; not registered, since `CLAIMED` was not set.
        if let Err(e) = to_result(unsafe { raw::register_pernet_device(key.device.get()) }) {
            // SAFETY: Just registered.
            unsafe { key.subsys.unregister() };
            return Err(e);
        }
        core::mem::forget(claim);
        // INVARIANT: Just registered.
        Ok(Self(key))
    }
}

impl<P: PerNet> Drop for Registration<P> {
    fn drop(&mut self) {
        // SAFETY: Registered, by the type's invariant.
        unsafe { raw::unregister_pernet_device(self.0.device.get()) };
        // SAFETY: As above.
        unsafe { self.0.subsys.unregister() };
        // INVARIANT: It had it, and is not registered any more.
        drop(Claim(self.0));
    }
}

/// Gives `net->ipvs` back when dropped.
///
/// # Invariants
///
/// The key has it, and its operations are not registered when this is dropped.
struct Claim<P: PerNet>(&'static Key<P>);

impl<P: PerNet> Claim<P> {
    fn new(key: &'static Key<P>) -> Result<Self> {
        let this = ptr::from_ref(key).cast_mut().cast();
        CLAIMED
            .compare_exchange(ptr::null_mut(), this, Ordering::AcqRel, Ordering::Relaxed)
            .map_err(|_| EBUSY)?;
        // INVARIANT: It just got it.
        Ok(Self(key))
    }
}

impl<P: PerNet> Drop for Claim<P> {
    fn drop(&mut self) {
        self.0.active.store(false, Ordering::Release);
        // Who saw it active may still look at `net->ipvs`.
        rcu::synchronize();
        CLAIMED.store(ptr::null_mut(), Ordering::Release);
    }
}

/// Something a module keeps for each namespace, without claim on `net->ipvs`.
pub trait Each: Sized + 'static {
    /// What is kept: registrations of files, sysctls, helpers. Dropped before the namespace is gone.
    type Item<'n>: Send;

    /// The static that stands for this type.
    const KEY: EachRef<Self>;

    /// Makes it for a namespace.
    fn init<'n>(net: &'n Net) -> Result<Self::Item<'n>>;
}

/// What the kernel knows of an [`Each`], to be put in a static.
pub struct EachKey<E: Each>(Ops, PhantomData<fn() -> E>);

impl<E: Each> EachKey<E> {
    /// A key that is not registered.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        let ops = raw::pernet_operations {
            init: Some(each_init::<E>),
            exit: Some(each_exit::<E>),
            ..pin_init::zeroed()
        };
        Self(Ops::new(ops), PhantomData)
    }
}

/// A reference to a static [`EachKey`] that can be in a constant, so that a type has just one.
pub struct EachRef<E: Each>(*const EachKey<E>);

impl<E: Each> EachRef<E> {
    /// A reference to `key`.
    pub const fn new(key: &'static EachKey<E>) -> Self {
        Self(key)
    }

    fn get(self) -> &'static EachKey<E> {
        // SAFETY: From a reference to a static.
        unsafe { &*self.0 }
    }
}

/// # Safety
///
/// Called by the kernel for a new namespace.
unsafe extern "C" fn each_init<E: Each>(net: *mut raw::net) -> c_int {
    // SAFETY: Valid during the call.
    let net = unsafe { Net::from_raw(net) };
    from_result(|| {
        let item = E::init(net)?;
        // SAFETY: This is a callback for `net`; `each_exit` takes it out.
        unsafe { E::KEY.get().0.put(net, item) }?;
        Ok(0)
    })
}

/// # Safety
///
/// Called by the kernel for a namespace that goes.
unsafe extern "C" fn each_exit<E: Each>(net: *mut raw::net) {
    // SAFETY: Valid during the call.
    let net = unsafe { Net::from_raw(net) };
    // SAFETY: This is a callback for `net`; it was put as this type, and lives no longer than `net`
    // because it is dropped here.
    drop(unsafe { E::KEY.get().0.take::<E::Item<'_>>(net) });
}

/// Each namespace has an [`Each::Item`] until this is dropped. Dropping sleeps.
///
/// # Invariants
///
/// The operations of `E::KEY` are registered.
pub struct EachRegistration<E: Each>(PhantomData<fn() -> E>);

impl<E: Each> EachRegistration<E> {
    /// Gives all namespaces their item.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it is registered; those of [`Each::init`].
    pub fn new() -> Result<Self> {
        E::KEY.get().0.register()?;
        // INVARIANT: Just registered.
        Ok(Self(PhantomData))
    }
}

impl<E: Each> Drop for EachRegistration<E> {
    fn drop(&mut self) {
        // SAFETY: Registered, by the type's invariant.
        unsafe { E::KEY.get().0.unregister() };
    }
}
