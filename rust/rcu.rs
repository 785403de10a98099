// SPDX-License-Identifier: GPL-2.0
//! RCU: proof of the read lock, counted objects that are freed a grace period after the last
//! reference, and slots that publish them.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)
//!
//! Atomics are those of `core`, not of the `kernel` crate, whose operations are calls: here they are
//! one instruction each. `Acquire` loads stand for `rcu_dereference()`, `Release` stores for
//! `rcu_assign_pointer()`.

use crate::{raw, Gfp};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::{offset_of, ManuallyDrop},
    ops::Deref,
    ptr::{self, NonNull},
    sync::atomic::{fence, AtomicPtr, AtomicU32, Ordering},
};
use kernel::{
    alloc::AllocError,
    prelude::*,
    types::{NotThreadSafe, Opaque},
};

/// Proof that the RCU read lock is held for `'g`.
#[derive(Clone, Copy)]
pub struct Rcu<'g>(PhantomData<&'g ()>, NotThreadSafe);

impl Rcu<'_> {
    /// # Safety
    ///
    /// The RCU read lock is held for the lifetime of the result.
    #[inline]
    pub(crate) unsafe fn assume() -> Self {
        Self(PhantomData, NotThreadSafe)
    }
}

/// The RCU read lock, held until dropped.
///
/// # Invariants
///
/// The lock is held while the guard exists.
pub struct ReadGuard(NotThreadSafe);

/// Takes the RCU read lock.
#[inline]
pub fn read_lock() -> ReadGuard {
    // SAFETY: Can be called in every context.
    unsafe { raw::rcu_read_lock() };
    // INVARIANT: Just taken.
    ReadGuard(NotThreadSafe)
}

impl ReadGuard {
    /// Proof for what wants it.
    #[inline]
    pub fn rcu(&self) -> Rcu<'_> {
        // SAFETY: By the type's invariant the lock is held while `self` is borrowed.
        unsafe { Rcu::assume() }
    }

    /// Lets others run. Takes `&mut`, so that no borrow from before lives on.
    pub fn resched(&mut self) {
        // SAFETY: By the type's invariant the lock is held.
        unsafe { raw::rcu_read_unlock() };
        // SAFETY: Process context is a must for whoever can lose the lock, and `cond_resched` is a
        // no-op elsewhere.
        unsafe { raw::helpers::cond_resched() };
        // SAFETY: Can be called in every context.
        unsafe { raw::rcu_read_lock() };
    }
}

impl Drop for ReadGuard {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type's invariant the lock is held.
        unsafe { raw::rcu_read_unlock() };
    }
}

/// Waits for a grace period. Sleeps.
pub fn synchronize() {
    // SAFETY: No requirement but a context that may sleep.
    unsafe { raw::synchronize_rcu() };
}

/// Waits until what was put before is freed, and what that freed in turn, `depth` levels deep.
///
/// A module whose objects are freed after grace periods calls this before its text goes away.
pub fn barrier(depth: usize) {
    for _ in 0..depth {
        // SAFETY: No requirement but a context that may sleep.
        unsafe { raw::rcu_barrier() };
    }
}

/// A link of an RCU chain. The address of a link tells its object and which link of it this is, see
/// [`Inner`].
#[repr(C)]
pub(crate) struct Link {
    pub(crate) next: AtomicPtr<Link>,
    /// Where the pointer to this link is stored. Only used under the lock of the chain.
    pub(crate) pprev: UnsafeCell<*const AtomicPtr<Link>>,
}

impl Link {
    const fn new() -> Self {
        Self {
            next: AtomicPtr::new(ptr::null_mut()),
            pprev: UnsafeCell::new(ptr::null()),
        }
    }
}

/// Number of chains an object can be in.
pub const LINKS: usize = 2;

/// Alignment of objects: a link's address with the low bits cleared is its object's.
const ALIGN: usize = 64;

/// What a counted object is in memory.
#[repr(C, align(64))]
pub(crate) struct Inner<T> {
    pub(crate) links: [Link; LINKS],
    pub(crate) hash: [AtomicU32; LINKS],
    refs: AtomicU32,
    /// Bit `n`: link `n` is in a chain. The bits above: of which table. 0: in none.
    pub(crate) linked: AtomicU32,
    head: UnsafeCell<raw::callback_head>,
    value: T,
}

/// Above this the count has leaked; it then stays, and the object is never freed.
const SATURATED: u32 = u32::MAX / 2;

/// Types that are kept in [`Arc`]s.
pub trait Object: Sized + Send + Sync + 'static {
    /// Called when the last reference is gone, a grace period before `drop`: lets timers and such
    /// stop. Any context.
    #[inline]
    fn release(&self) {}
}

impl<T: Object> Inner<T> {
    #[inline]
    pub(crate) fn from_link(link: *const Link) -> (*const Self, usize) {
        const { assert!(offset_of!(Inner<T>, links) == 0) };
        const { assert!(size_of::<Link>() * LINKS <= ALIGN) };
        let addr = link.addr();
        let slot = (addr & (ALIGN - 1)) / size_of::<Link>();
        (link.map_addr(|a| a & !(ALIGN - 1)).cast(), slot)
    }

    #[inline]
    pub(crate) fn link(&self, slot: usize) -> *const Link {
        &raw const self.links[slot & (LINKS - 1)]
    }

    #[inline]
    fn inc(&self) {
        let old = self.refs.fetch_add(1, Ordering::Relaxed);
        if old > SATURATED {
            self.refs.store(u32::MAX - SATURATED / 2, Ordering::Relaxed);
        }
    }

    #[inline]
    fn inc_not_zero(&self) -> bool {
        let mut old = self.refs.load(Ordering::Relaxed);
        loop {
            if old == 0 {
                return false;
            }
            if old > SATURATED {
                return true;
            }
            match self.refs.compare_exchange_weak(
                old,
                old.wrapping_add(1),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => old = now,
            }
        }
    }

    /// Takes the last reference away, if there is just one.
    #[inline]
    pub(crate) fn dec_if_one(&self) -> bool {
        self.refs
            .compare_exchange(1, 0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// # Safety
    ///
    /// The count is 0 and this is called once.
    unsafe fn free_later(this: NonNull<Self>) {
        // SAFETY: Valid until the callback below runs.
        let inner = unsafe { this.as_ref() };
        inner.value.release();
        // SAFETY: The head is used for this only; the callback gets what it expects.
        unsafe { raw::call_rcu(inner.head.get(), Some(Self::free)) };
    }

    /// # Safety
    ///
    /// `head` is that of an object whose count became 0 a grace period ago.
    unsafe extern "C" fn free(head: *mut raw::callback_head) {
        let this = head
            .wrapping_byte_sub(offset_of!(Self, head))
            .cast::<Self>();
        // SAFETY: Nobody can reach the object any more.
        unsafe { ptr::drop_in_place(&raw mut (*this).value) };
        // SAFETY: All objects come from slab, and kfree() takes those of every cache.
        unsafe { raw::kfree(this.cast()) };
    }
}

/// A counted reference. The object is dropped a grace period after the last reference, so that what
/// RCU readers found stays valid for them.
///
/// Dropping happens in softirq: `T`'s `drop` must not sleep.
///
/// # Invariants
///
/// Owns one count of a live object.
#[repr(transparent)]
pub struct Arc<T: Object>(NonNull<Inner<T>>, PhantomData<Inner<T>>);

// SAFETY: `T` is `Send + Sync` by `Object`, and counts are atomic.
unsafe impl<T: Object> Send for Arc<T> {}
// SAFETY: As above.
unsafe impl<T: Object> Sync for Arc<T> {}

// A pointer can be moved, whatever it points to.
impl<T: Object> Unpin for Arc<T> {}

impl<T: Object> Arc<T> {
    /// Memory of the right size and alignment for an object.
    fn alloc(gfp: Gfp, cache: Option<&Cache<T>>) -> Result<NonNull<Inner<T>>, AllocError> {
        const { assert!(align_of::<Inner<T>>() == ALIGN) };
        let p = match cache {
            // SAFETY: The cache exists while it is borrowed.
            Some(c) => unsafe { raw::kmem_cache_alloc_noprof(c.0.get(), gfp.raw()) },
            // SAFETY: No requirements. kmalloc() aligns to the largest power of two that divides
            // the size, which is a multiple of `ALIGN`.
            None => unsafe { raw::__kmalloc_noprof(size_of::<Inner<T>>(), gfp.raw()) },
        };
        NonNull::new(p.cast()).ok_or(AllocError)
    }

    /// # Safety
    ///
    /// `p` comes from `alloc`, and its `value` is initialized.
    #[inline]
    unsafe fn finish(p: NonNull<Inner<T>>) -> Self {
        let i = p.as_ptr();
        // SAFETY: Memory of this size, ours alone.
        unsafe {
            (&raw mut (*i).links).write([const { Link::new() }; LINKS]);
            (&raw mut (*i).hash).write([const { AtomicU32::new(0) }; LINKS]);
            (&raw mut (*i).refs).write(AtomicU32::new(1));
            (&raw mut (*i).linked).write(AtomicU32::new(0));
        }
        // INVARIANT: The count was just set to 1.
        Self(p, PhantomData)
    }

    /// Makes an object.
    pub fn new(value: T, gfp: Gfp) -> Result<Self, AllocError> {
        let p = Self::alloc(gfp, None)?;
        // SAFETY: Memory for it, ours alone.
        unsafe { (&raw mut (*p.as_ptr()).value).write(value) };
        // SAFETY: Just initialized.
        Ok(unsafe { Self::finish(p) })
    }

    /// Makes an object in place.
    pub fn pin_init<E>(init: impl PinInit<T, E>, gfp: Gfp) -> Result<Self>
    where
        Error: From<E>,
    {
        Self::pin_init_in(init, gfp, None)
    }

    /// Makes an object in place, from a cache of its own.
    #[inline]
    pub fn pin_init_in<E>(
        init: impl PinInit<T, E>,
        gfp: Gfp,
        cache: Option<&Cache<T>>,
    ) -> Result<Self>
    where
        Error: From<E>,
    {
        let p = Self::alloc(gfp, cache)?;
        // SAFETY: Memory for it, ours alone, that stays in place until dropped.
        if let Err(e) = unsafe { pin_init::raw_try_init(&raw mut (*p.as_ptr()).value, init) } {
            // SAFETY: From slab, and nothing in it lives.
            unsafe { raw::kfree(p.as_ptr().cast()) };
            return Err(e.into());
        }
        // SAFETY: Just initialized.
        Ok(unsafe { Self::finish(p) })
    }

    /// The object as an RCU reader sees it.
    #[inline]
    pub fn as_ref(&self) -> Ref<'_, T> {
        // SAFETY: By the type's invariant it lives while `self` does.
        Ref(unsafe { self.0.as_ref() })
    }

    /// The object, for as long as RCU is held: it outlives this reference.
    #[inline]
    pub fn as_ref_rcu<'g>(this: &Self, _rcu: Rcu<'g>) -> Ref<'g, T> {
        // SAFETY: It lives now, and is freed a grace period after the last reference at the
        // earliest.
        unsafe { Ref::from_raw(this.0.as_ptr()) }
    }

    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<Inner<T>> {
        ManuallyDrop::new(self).0
    }

    /// # Safety
    ///
    /// The caller owns one count, and gives it to the result.
    #[inline]
    pub(crate) unsafe fn from_raw(p: NonNull<Inner<T>>) -> Self {
        // INVARIANT: By the requirement.
        Self(p, PhantomData)
    }

    /// Number of references there are now.
    pub fn count(&self) -> u32 {
        self.as_ref().count()
    }

    /// Whether both are the same object.
    #[inline]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        ptr::eq(self.0.as_ptr(), other.0.as_ptr())
    }
}

impl<T: Object> Clone for Arc<T> {
    #[inline]
    fn clone(&self) -> Self {
        self.as_ref().0.inc();
        // INVARIANT: Just counted.
        Self(self.0, PhantomData)
    }
}

impl<T: Object> Deref for Arc<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: By the type's invariant it lives while `self` does.
        unsafe { &self.0.as_ref().value }
    }
}

impl<T: Object> Drop for Arc<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type's invariant it lives.
        let refs = unsafe { &self.0.as_ref().refs };
        let old = refs.fetch_sub(1, Ordering::Release);
        if old == 1 {
            fence(Ordering::Acquire);
            // SAFETY: The count just became 0, and only one can see that.
            unsafe { Inner::free_later(self.0) };
        } else if old > SATURATED {
            refs.store(u32::MAX - SATURATED / 2, Ordering::Relaxed);
        }
    }
}

/// An object out of reach of new readers, with no references: gone a grace period after this is
/// dropped.
///
/// # Invariants
///
/// The count is 0, and this is the only handle that may free the object.
pub struct Unique<T: Object>(NonNull<Inner<T>>);

impl<T: Object> Unique<T> {
    /// # Safety
    ///
    /// The count was just taken to 0 by the caller.
    #[inline]
    pub(crate) unsafe fn from_raw(p: NonNull<Inner<T>>) -> Self {
        // INVARIANT: By the requirement.
        Self(p)
    }
}

impl<T: Object> Deref for Unique<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: By the type's invariant it lives until `drop`.
        unsafe { &self.0.as_ref().value }
    }
}

impl<T: Object> Drop for Unique<T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { Inner::free_later(self.0) };
    }
}

/// A borrowed object: valid for `'g`, which is as long as the RCU read lock or a counted reference.
pub struct Ref<'g, T: Object>(pub(crate) &'g Inner<T>);

impl<T: Object> Clone for Ref<'_, T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Object> Copy for Ref<'_, T> {}

impl<'g, T: Object> Ref<'g, T> {
    /// A counted reference, unless the last one is already gone.
    #[inline]
    pub fn get(self) -> Option<Arc<T>> {
        // INVARIANT: Just counted.
        self.0
            .inc_not_zero()
            .then(|| Arc(NonNull::from(self.0), PhantomData))
    }

    /// The object, for as long as this was valid.
    #[inline]
    pub fn value(self) -> &'g T {
        &self.0.value
    }

    /// Whether both are the same object.
    #[inline]
    pub fn ptr_eq(self, other: Ref<'_, T>) -> bool {
        ptr::eq(self.0, other.0)
    }

    /// Number of references there are now.
    #[inline]
    pub fn count(self) -> u32 {
        self.0.refs.load(Ordering::Relaxed)
    }

    /// The hash that it is linked under through `slot`, if it is or was.
    #[inline]
    pub fn hash(self, slot: usize) -> u32 {
        self.0.hash[slot & (LINKS - 1)].load(Ordering::Relaxed)
    }

    /// # Safety
    ///
    /// `value` is that of a counted object that is valid for `'g`.
    #[inline]
    pub(crate) unsafe fn from_value(value: *const T) -> Self {
        // SAFETY: By the requirement; `value` lies in an `Inner`.
        Self(unsafe {
            &*value
                .wrapping_byte_sub(offset_of!(Inner<T>, value))
                .cast::<Inner<T>>()
        })
    }

    /// # Safety
    ///
    /// `p` is valid for `'g`.
    #[inline]
    pub(crate) unsafe fn from_raw(p: *const Inner<T>) -> Self {
        // SAFETY: By the requirement.
        Self(unsafe { &*p })
    }
}

impl<T: Object> Deref for Ref<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.0.value
    }
}

/// A place that holds a counted reference or nothing, read under RCU and changed by exchange.
///
/// # Invariants
///
/// Null, or owns one count.
#[repr(transparent)]
pub struct Slot<T: Object>(AtomicPtr<Inner<T>>, PhantomData<Arc<T>>);

impl<T: Object> Slot<T> {
    /// A slot with nothing in it.
    pub const fn empty() -> Self {
        // INVARIANT: Null.
        Self(AtomicPtr::new(ptr::null_mut()), PhantomData)
    }

    /// A slot with `value` in it.
    pub fn new(value: Option<Arc<T>>) -> Self {
        Self(AtomicPtr::new(Self::raw(value)), PhantomData)
    }

    #[inline]
    fn raw(value: Option<Arc<T>>) -> *mut Inner<T> {
        value.map_or(ptr::null_mut(), |a| a.into_raw().as_ptr())
    }

    /// What is in it now.
    #[inline]
    pub fn load<'g>(&self, _rcu: Rcu<'g>) -> Option<Ref<'g, T>> {
        let p = self.0.load(Ordering::Acquire);
        // SAFETY: By the type's invariant it was counted when read, and RCU readers can use it for
        // `'g` even when it is taken out now.
        (!p.is_null()).then(|| unsafe { Ref::from_raw(p) })
    }

    /// Whether nothing is in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed).is_null()
    }

    /// A counted reference to what is in it.
    pub fn get(&self) -> Option<Arc<T>> {
        let guard = read_lock();
        loop {
            match self.load(guard.rcu()) {
                None => return None,
                // Its count can be 0 only if it was just taken out.
                Some(r) => {
                    if let Some(a) = r.get() {
                        return Some(a);
                    }
                }
            }
        }
    }

    /// Puts `new` in, and returns what was there.
    pub fn swap(&self, new: Option<Arc<T>>) -> Option<Arc<T>> {
        let old = self.0.swap(Self::raw(new), Ordering::AcqRel);
        // SAFETY: By the type's invariant the count was the slot's, and it is ours now.
        NonNull::new(old).map(|p| unsafe { Arc::from_raw(p) })
    }
}

impl<T: Object> Drop for Slot<T> {
    fn drop(&mut self) {
        self.swap(None);
    }
}

/// A slab cache for objects of one type.
///
/// # Invariants
///
/// A valid cache whose objects fit `Inner<T>`.
#[repr(transparent)]
pub struct Cache<T: Object>(Opaque<raw::kmem_cache>, PhantomData<fn() -> T>);

// SAFETY: Caches can be used from everywhere.
unsafe impl<T: Object> Sync for Cache<T> {}

/// A static that holds a cache while a module that uses it is loaded.
///
/// # Invariants
///
/// Null or a valid [`Cache`].
pub struct StaticCache<T: Object>(AtomicPtr<Cache<T>>);

impl<T: Object> StaticCache<T> {
    /// Bytes an object takes, header included.
    pub const SIZE: usize = size_of::<Inner<T>>();

    /// No cache yet.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        // INVARIANT: Null.
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Makes the cache, which shows as `name` in /proc/slabinfo. It exists until the result is
    /// dropped, by when all objects must be gone: drop what has them and call [`barrier`] before.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EBUSY` if it exists.
    pub fn create(&'static self, name: &'static CStr) -> Result<CacheGuard<T>> {
        // SAFETY: `name` lives forever.
        let p = unsafe {
            raw::helpers::kmem_cache_create_hwalign(
                name.as_char_ptr(),
                Self::SIZE as c_uint,
                ALIGN as c_uint,
            )
        };
        let p = NonNull::new(p).ok_or(ENOMEM)?;
        let null = ptr::null_mut();
        // INVARIANT: Made for this size and alignment.
        let set = self.0.compare_exchange(
            null,
            p.as_ptr().cast(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        if set.is_err() {
            // SAFETY: Just made.
            unsafe { raw::kmem_cache_destroy(p.as_ptr()) };
            return Err(EBUSY);
        }
        Ok(CacheGuard(self))
    }

    /// The cache, if it exists.
    #[inline]
    pub fn get<'g>(&self, _rcu: Rcu<'g>) -> Option<&'g Cache<T>> {
        // SAFETY: By the type's invariant; it is destroyed a grace period after nobody finds it.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }
}

/// Keeps a [`StaticCache`] in existence.
pub struct CacheGuard<T: Object>(&'static StaticCache<T>);

impl<T: Object> Drop for CacheGuard<T> {
    fn drop(&mut self) {
        let p = self.0 .0.swap(ptr::null_mut(), Ordering::AcqRel);
        synchronize();
        // SAFETY: Made by `create`; nobody can reach it any more. If objects are left the kernel
        // complains, and keeps it.
        unsafe { raw::kmem_cache_destroy(p.cast()) };
    }
}

/// Calls [`barrier`] when dropped: put it in a module's state after what has objects, before what
/// they need.
pub struct Barrier(pub usize);

impl Drop for Barrier {
    fn drop(&mut self) {
        barrier(self.0);
    }
}
