// SPDX-License-Identifier: GPL-2.0
//! A resizable RCU hash table.
//!
//! An object can be in a table through one or both of its links, under one hash each. The hashes do
//! not depend on the size of the table, so a resize moves links and computes nothing.
//!
//! The high bits of a hash select its chain. So chains are in the order of their hashes, whatever
//! the size, and who walks goes by hashes: see `walk`.
//!
//! Chains are changed under the lock of their *stripe*, which the high bits of the hash select, too.
//! As no table has fewer chains than there are stripes, a hash belongs to the same stripe in every
//! table: who adds or removes need not know how far a resize has come.
//!
//! Readers take nothing. Only a move can mislead them, by carrying them into another chain; each
//! move changes the stripe's sequence number, and who found nothing and sees it changed looks again.

mod resize;
mod walk;

use crate::{
    raw,
    rcu::{Arc, Inner, Link, Object, Rcu, Ref, Unique, LINKS},
};
use core::{
    marker::PhantomData,
    mem::offset_of,
    ptr::{self, NonNull},
    slice,
    sync::atomic::{fence, AtomicI32, AtomicPtr, AtomicU32, Ordering},
};
use kernel::prelude::*;

/// Where a chain begins.
type Head = AtomicPtr<Link>;

/// The buckets of a table: this, and after it the heads of the chains.
#[repr(C)]
struct Buckets {
    head: raw::callback_head,
    /// Where a resize moves the links to.
    next: AtomicPtr<Buckets>,
    /// A hash without so many low bits is the number of its chain.
    shift: u32,
}

impl Buckets {
    fn alloc(bits: u32) -> Result<NonNull<Self>> {
        if bits > MAX_BITS {
            return Err(EINVAL);
        }
        let heads = size_of::<Head>() << bits;
        // SAFETY: No requirements. Zeroed heads are empty chains.
        let p = unsafe { raw::helpers::kvzalloc(size_of::<Self>() + heads) }.cast::<Self>();
        let this = NonNull::new(p).ok_or(ENOMEM)?;
        // SAFETY: Memory of this size, ours alone.
        unsafe { (&raw mut (*p).shift).write(u32::BITS - bits) };
        Ok(this)
    }

    /// log2 of the number of chains.
    #[inline]
    fn bits(&self) -> u32 {
        u32::BITS.wrapping_sub(self.shift)
    }

    /// The number of the chain of a hash.
    #[inline]
    fn index(&self, hash: u32) -> usize {
        u64::from(hash).wrapping_shr(self.shift) as usize
    }

    /// All chains.
    #[inline]
    fn chains(&self) -> &[Head] {
        let first = (&raw const *self).wrapping_add(1).cast();
        // SAFETY: As many heads follow the struct.
        unsafe { slice::from_raw_parts(first, 1usize.wrapping_shl(self.bits())) }
    }

    #[inline]
    fn chain(&self, hash: u32) -> &Head {
        // SAFETY: There is a chain for each hash.
        unsafe { self.chains().get_unchecked(self.index(hash)) }
    }

    /// # Safety
    ///
    /// `head` is that of buckets that no reader has.
    unsafe extern "C" fn free(head: *mut raw::callback_head) {
        const { assert!(offset_of!(Buckets, head) == 0) };
        // SAFETY: Allocated by kvzalloc(), and no reader is left.
        unsafe { raw::kvfree(head.cast()) };
    }
}

/// Size and load of a table.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Shape {
    /// log2 of the number of buckets.
    pub bits: u32,
    /// Load factor as a shift.
    pub lfactor: i32,
    /// More objects than this: time to grow.
    pub grow_above: i32,
}

/// A hash table of counted objects.
///
/// # Invariants
///
/// `cur` is null or valid buckets that outlive RCU readers; `next` of it is null or the same. What
/// is linked in a chain is an `Inner<T>`, and one count of it belongs to the table.
pub struct Table<T: Object> {
    cur: AtomicPtr<Buckets>,
    /// Sequence number by stripe: odd while a move goes on.
    seqs: KVec<AtomicU32>,
    locks: NonNull<c_void>,
    /// A hash without so many low bits is the number of its stripe.
    stripe_shift: u32,
    len: AtomicI32,
    lfactor: AtomicI32,
    grow_above: AtomicI32,
    resizing: AtomicU32,
    /// Tells this table from others, in the upper bits of `Inner::linked`.
    id: Id,
    _p: PhantomData<Arc<T>>,
}

/// A number that no other table has: nothing is linked in this one any more when it is dropped.
struct Id(u32);

impl Id {
    fn new() -> Result<Self> {
        // SAFETY: A context that may sleep, like the allocation of what is in a table.
        let id = unsafe { raw::helpers::table_id_get((BUSY >> LINKS) - 1) };
        u32::try_from(id)
            .map(Self)
            .map_err(|_| Error::from_errno(id))
    }
}

impl Drop for Id {
    fn drop(&mut self) {
        // SAFETY: Got in `new`.
        unsafe { raw::helpers::table_id_put(self.0) };
    }
}

/// log2 of the most buckets and stripes a table can have.
const MAX_BITS: u32 = 30;

/// What `Inner::linked` is while an object is being put into a table.
const BUSY: u32 = u32::MAX << LINKS;

// SAFETY: Holds `Arc<T>`s, which are `Send`; all else is shared by locks and atomics.
unsafe impl<T: Object> Send for Table<T> {}
// SAFETY: As above.
unsafe impl<T: Object> Sync for Table<T> {}

/// Locks of one or two stripes, with softirqs off.
struct StripeGuard<'a, T: Object> {
    table: &'a Table<T>,
    a: u32,
    b: u32,
}

impl<T: Object> Drop for StripeGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Locked by `Table::lock`.
        unsafe { raw::helpers::stripes_unlock(self.table.locks.as_ptr(), self.a, self.b) };
    }
}

impl<T: Object> Table<T> {
    /// A table without buckets, that will never have fewer than `1 << stripe_bits`.
    pub fn new(stripe_bits: u32) -> Result<Self> {
        if stripe_bits > MAX_BITS {
            return Err(EINVAL);
        }
        let id = Id::new()?;
        let n = 1usize << stripe_bits;
        let mut seqs = KVec::with_capacity(n, GFP_KERNEL)?;
        for _ in 0..n {
            seqs.push(AtomicU32::new(0), GFP_KERNEL)?;
        }
        // SAFETY: No requirements.
        let locks = unsafe { raw::helpers::stripes_alloc(n as c_uint) };
        Ok(Self {
            cur: AtomicPtr::new(ptr::null_mut()),
            seqs,
            locks: NonNull::new(locks).ok_or(ENOMEM)?,
            stripe_shift: u32::BITS - stripe_bits,
            len: AtomicI32::new(0),
            lfactor: AtomicI32::new(0),
            grow_above: AtomicI32::new(i32::MAX),
            resizing: AtomicU32::new(0),
            id,
            _p: PhantomData,
        })
    }

    #[inline]
    fn stripe(&self, hash: u32) -> u32 {
        u64::from(hash).wrapping_shr(self.stripe_shift) as u32
    }

    #[inline]
    fn seq(&self, hash: u32) -> &AtomicU32 {
        // SAFETY: There is one a stripe.
        unsafe { self.seqs.get_unchecked(self.stripe(hash) as usize) }
    }

    #[inline]
    fn lock(&self, hash0: u32, hash1: u32) -> StripeGuard<'_, T> {
        let (a, b) = (self.stripe(hash0), self.stripe(hash1));
        let (a, b) = (a.min(b), a.max(b));
        // SAFETY: Both are below the number of locks, and in order.
        unsafe { raw::helpers::stripes_lock(self.locks.as_ptr(), a, b) };
        StripeGuard { table: self, a, b }
    }

    /// Number of objects.
    #[inline]
    pub fn len(&self) -> i32 {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether there are no objects.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is time to call [`Self::resize`].
    #[inline]
    pub fn wants_to_grow(&self) -> bool {
        self.len() > self.grow_above.load(Ordering::Relaxed)
    }

    /// Size and load now; `None` while there are no buckets.
    pub fn shape(&self, _rcu: Rcu<'_>) -> Option<Shape> {
        let b = self.cur.load(Ordering::Acquire);
        // SAFETY: By the type's invariant, for as long as RCU is held.
        let b = unsafe { b.as_ref() }?;
        Some(Shape {
            bits: b.bits(),
            lfactor: self.lfactor.load(Ordering::Relaxed),
            grow_above: self.grow_above.load(Ordering::Relaxed),
        })
    }

    /// Puts `obj` in, under the given hashes; the reference is the table's from now on.
    ///
    /// `None` if the table has no buckets, or the object is in a table.
    #[inline]
    pub fn insert<'g>(
        &self,
        _rcu: Rcu<'g>,
        obj: Arc<T>,
        hashes: [Option<u32>; LINKS],
    ) -> Option<Ref<'g, T>> {
        let (hash0, hash1) = match hashes {
            [Some(a), Some(b)] => (a, b),
            [Some(a), None] | [None, Some(a)] => (a, a),
            [None, None] => return None,
        };
        let linked = &obj.as_ref().0.linked;
        if linked
            .compare_exchange(0, BUSY, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            return None;
        }
        let guard = self.lock(hash0, hash1);
        let cur = self.cur.load(Ordering::Acquire);
        // SAFETY: By the type's invariant; RCU is held.
        let Some(cur) = (unsafe { cur.as_ref() }) else {
            linked.store(0, Ordering::Release);
            return None;
        };
        let next = cur.next.load(Ordering::Acquire);
        // SAFETY: As above. A resize sets `next` before it moves anything of a stripe, so what we
        // add to `cur` when it is null will be moved.
        let buckets = unsafe { next.as_ref() }.unwrap_or(cur);
        let inner = obj.into_raw();
        // SAFETY: The table owns a count now, and RCU readers may use it for `'g`.
        let inner = unsafe { &*inner.as_ptr() };
        let mut bits = 0;
        for (slot, hash) in hashes.into_iter().enumerate() {
            if let Some(hash) = hash {
                inner.hash[slot].store(hash, Ordering::Relaxed);
                // SAFETY: The stripe is locked, and the link is in no chain: `linked` was 0.
                unsafe { push(buckets.chain(hash), inner.link(slot)) };
                bits |= 1 << slot;
            }
        }
        inner
            .linked
            .store(self.id.0 << LINKS | bits, Ordering::Release);
        self.len.fetch_add(1, Ordering::Relaxed);
        drop(guard);
        Some(Ref(inner))
    }

    /// Takes `obj` out, and returns the table's reference. `None` if it is not in a table (more).
    pub fn remove(&self, obj: Ref<'_, T>) -> Option<Arc<T>> {
        self.unlink(obj, |_| true).then(|| {
            // SAFETY: The count was the table's; the object is in no chain now.
            unsafe { Arc::from_raw(NonNull::from(obj.0)) }
        })
    }

    /// Takes out one of those in chain `at` or in a chain after it, which `at` then is; `None` if there
    /// is none. Start with 0. A resize meanwhile can hide some.
    pub fn pop(&self, _rcu: Rcu<'_>, at: &mut usize) -> Option<Arc<T>> {
        let cur = self.cur.load(Ordering::Acquire);
        // SAFETY: By the type's invariant, for as long as RCU is held.
        let cur = unsafe { cur.as_ref() }?;
        while let Some(chain) = cur.chains().get(*at) {
            let link = chain.load(Ordering::Acquire);
            if link.is_null() {
                *at = at.wrapping_add(1);
                continue;
            }
            // SAFETY: What is linked is a live object, and RCU keeps it.
            let obj = unsafe { Ref::from_raw(Inner::<T>::from_link(link).0) };
            // If another was faster the chain begins with the next one.
            if let Some(obj) = self.remove(obj) {
                return Some(obj);
            }
        }
        None
    }

    /// Takes `obj` out if the table has the only reference.
    #[inline]
    pub fn remove_if_last(&self, obj: Ref<'_, T>) -> Option<Unique<T>> {
        self.unlink(obj, Inner::dec_if_one).then(|| {
            // SAFETY: The count just became 0 by our hand.
            unsafe { Unique::from_raw(NonNull::from(obj.0)) }
        })
    }

    #[inline]
    fn unlink(&self, obj: Ref<'_, T>, cond: impl FnOnce(&Inner<T>) -> bool) -> bool {
        let inner = obj.0;
        let hash = |slot: usize| inner.hash[slot].load(Ordering::Relaxed);
        let (guard, linked) = loop {
            let linked = inner.linked.load(Ordering::Acquire);
            if linked >> LINKS != self.id.0 {
                return false;
            }
            let (hash0, hash1) = (hash(0), hash(1));
            let a = if linked & 1 != 0 { hash0 } else { hash1 };
            let b = if linked & 2 != 0 { hash1 } else { hash0 };
            let guard = self.lock(a, b);
            // It may have been taken out, and put in again elsewhere, before we had the locks.
            let same = inner.linked.load(Ordering::Acquire) == linked;
            if same && (hash(0), hash(1)) == (hash0, hash1) {
                break (guard, linked);
            }
        };
        if !cond(inner) {
            return false;
        }
        for slot in 0..LINKS {
            if linked & (1 << slot) != 0 {
                // SAFETY: The stripe is locked and the link is in a chain of it.
                unsafe { del(inner.link(slot)) };
            }
        }
        inner.linked.store(0, Ordering::Release);
        self.len.fetch_sub(1, Ordering::Relaxed);
        drop(guard);
        true
    }

    /// The first object under `hash` for which `eq(object, link)` is true, and the link.
    ///
    /// While an object that was taken out is put in again without a grace period between, others in
    /// its old chain may be missed.
    #[inline]
    pub fn find<'g>(
        &self,
        _rcu: Rcu<'g>,
        hash: u32,
        mut eq: impl FnMut(&'g T, usize) -> bool,
    ) -> Option<(Ref<'g, T>, usize)> {
        let cur = self.cur.load(Ordering::Acquire);
        // SAFETY: By the type's invariant, for as long as RCU is held.
        let cur: &'g Buckets = unsafe { cur.as_ref() }?;
        loop {
            let seq = self.seq(hash).load(Ordering::Acquire);
            let mut buckets = cur;
            loop {
                let mut link = buckets.chain(hash).load(Ordering::Acquire);
                while !link.is_null() {
                    let (inner, slot) = Inner::<T>::from_link(link);
                    // SAFETY: What is linked is a live object, and RCU keeps it for `'g`.
                    let inner: &'g Inner<T> = unsafe { &*inner };
                    if inner.hash[slot & (LINKS - 1)].load(Ordering::Relaxed) == hash {
                        // SAFETY: As above.
                        let found = unsafe { Ref::from_raw(inner) };
                        if eq(found.value(), slot) {
                            return Some((found, slot));
                        }
                    }
                    // SAFETY: As above; the next pointer stays when a link is taken out.
                    link = unsafe { &*link }.next.load(Ordering::Acquire);
                }
                let next = buckets.next.load(Ordering::Acquire);
                // SAFETY: By the type's invariant.
                match unsafe { next.as_ref() } {
                    Some(b) => buckets = b,
                    None => break,
                }
            }
            fence(Ordering::Acquire);
            if seq & 1 == 0 && self.seq(hash).load(Ordering::Relaxed) == seq {
                return None;
            }
            self.wait(hash);
        }
    }

    /// Waits for a move that goes on in the stripe of `hash`. Who moves holds the lock, and may be
    /// preempted where spin locks are not what they are called: spinning could go on for ever.
    #[cold]
    fn wait(&self, hash: u32) {
        drop(self.lock(hash, hash));
    }
}

impl<T: Object> Drop for Table<T> {
    /// Nobody can reach the table, so there are no readers either.
    fn drop(&mut self) {
        let cur = *self.cur.get_mut();
        // SAFETY: By the type's invariant.
        if let Some(b) = unsafe { cur.as_ref() } {
            for chain in b.chains() {
                loop {
                    let link = chain.load(Ordering::Relaxed);
                    if link.is_null() {
                        break;
                    }
                    // SAFETY: Linked, so live.
                    let obj = unsafe { Ref::from_raw(Inner::<T>::from_link(link).0) };
                    if self.remove(obj).is_none() {
                        break;
                    }
                }
            }
            // SAFETY: Allocated by kvzalloc().
            unsafe { raw::kvfree(cur.cast()) };
        }
        // SAFETY: From stripes_alloc(), and not in use any more.
        unsafe { raw::kvfree(self.locks.as_ptr()) };
    }
}

/// Puts `link` first in a chain.
///
/// # Safety
///
/// The stripe of the chain is locked, `link` is valid and in no chain.
#[inline]
unsafe fn push(chain: &Head, link: *const Link) {
    let first = chain.load(Ordering::Relaxed);
    // SAFETY: Valid by the requirement.
    let l = unsafe { &*link };
    l.next.store(first, Ordering::Relaxed);
    // SAFETY: Only used under the lock.
    unsafe { *l.pprev.get() = chain };
    // SAFETY: What is linked is valid while the stripe is locked.
    if let Some(f) = unsafe { first.as_ref() } {
        // SAFETY: Only used under the lock.
        unsafe { *f.pprev.get() = &raw const l.next };
    }
    chain.store(link.cast_mut(), Ordering::Release);
}

/// Takes `link` out of its chain; its own `next` stays for readers that are at it.
///
/// # Safety
///
/// The stripe of its chain is locked, and it is in a chain.
#[inline]
unsafe fn del(link: *const Link) {
    // SAFETY: Valid by the requirement.
    let l = unsafe { &*link };
    let next = l.next.load(Ordering::Relaxed);
    // SAFETY: Only used under the lock.
    let pprev = unsafe { *l.pprev.get() };
    // SAFETY: Points to a head or to a link of the chain.
    unsafe { &*pprev }.store(next, Ordering::Release);
    // SAFETY: What is linked is valid while the stripe is locked.
    if let Some(n) = unsafe { next.as_ref() } {
        // SAFETY: Only used under the lock.
        unsafe { *n.pprev.get() = pprev };
    }
}
