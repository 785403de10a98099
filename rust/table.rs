// SPDX-License-Identifier: GPL-2.0
//! A resizable RCU hash table.
//!
//! An object can be in a table through one or both of its links, under one hash each. The hashes do
//! not depend on the size of the table, so a resize moves links and computes nothing.
//!
//! Chains are changed under the lock of their *stripe*, which the low bits of the hash select. As no
//! table has fewer buckets than there are stripes, a hash belongs to the same stripe in every table:
//! who adds or removes need not know how far a resize has come.
//!
//! Readers take nothing. Only a move can mislead them, by carrying them into another chain; each
//! move changes the stripe's sequence number, and who found nothing and sees it changed looks again.

use crate::{
    raw,
    rcu::{self, Arc, Inner, Link, Object, Rcu, Ref, Unique, LINKS},
};
use core::{
    marker::PhantomData,
    mem::offset_of,
    ops::Range,
    ptr::{self, NonNull},
    sync::atomic::{fence, AtomicI32, AtomicPtr, AtomicU32, Ordering},
};
use kernel::prelude::*;

/// The buckets of a table: this, and after it `mask + 1` chain heads.
#[repr(C)]
struct Buckets {
    head: raw::callback_head,
    /// Where a resize moves the links to.
    next: AtomicPtr<Buckets>,
    mask: u32,
    bits: u32,
}

impl Buckets {
    fn alloc(bits: u32) -> Result<NonNull<Self>> {
        if bits > MAX_BITS {
            return Err(EINVAL);
        }
        let heads = size_of::<AtomicPtr<Link>>() << bits;
        // SAFETY: No requirements. Zeroed heads are empty chains.
        let p = unsafe { raw::helpers::kvzalloc(size_of::<Self>() + heads) }.cast::<Self>();
        let this = NonNull::new(p).ok_or(ENOMEM)?;
        // SAFETY: Memory of this size, ours alone.
        unsafe {
            (&raw mut (*p).mask).write((1 << bits) - 1);
            (&raw mut (*p).bits).write(bits);
        }
        Ok(this)
    }

    #[inline]
    fn chain(&self, hash: u32) -> &AtomicPtr<Link> {
        let first = (&raw const *self).wrapping_add(1).cast::<AtomicPtr<Link>>();
        // SAFETY: `mask + 1` heads follow the struct.
        unsafe { &*first.wrapping_add((hash & self.mask) as usize) }
    }

    /// Which chains of a run are not empty, as a mask. A function of its own, to have registers for
    /// all it needs: most of them are.
    #[inline(never)]
    fn used(&self, first: u32, apart: u32) -> u32 {
        let mut used = 0;
        let mut chain: *const AtomicPtr<Link> = self.chain(first);
        for group in 0..(1u32 << RUN_BITS) / 4 {
            let one = |i: usize| {
                let chain = chain.wrapping_add((apart as usize).wrapping_mul(i));
                // SAFETY: The first chains of runs are those below `apart`, so all of it exist.
                unsafe { &*chain }.load(Ordering::Relaxed) as usize
            };
            if one(0) | one(1) | one(2) | one(3) != 0 {
                for i in 0..4 {
                    used |= u32::from(one(i) != 0) << (group * 4 + i as u32);
                }
            }
            chain = chain.wrapping_add((apart as usize).wrapping_mul(4));
        }
        used
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
    stripe_bits: u32,
    len: AtomicI32,
    lfactor: AtomicI32,
    grow_above: AtomicI32,
    resizing: AtomicU32,
    /// Tells this table from others, in the upper bits of `Inner::linked`.
    id: u32,
    _p: PhantomData<Arc<T>>,
}

/// The `id` of the next table.
static NEXT_ID: AtomicU32 = AtomicU32::new(1);

/// log2 of the most buckets and stripes a table can have.
const MAX_BITS: u32 = 30;

/// log2 of the chains that [`Table::for_each_place`] takes together; with fewer it takes each alone.
const RUN_BITS: u32 = 5;
/// Objects that it looks at before others may run, or a few more.
const BATCH: u32 = 32;
/// Runs of chains that it looks at before others may run.
const BATCH_RUNS: u32 = 128;

/// What `Inner::linked` is while an object is being put into a table.
const BUSY: u32 = u32::MAX << LINKS;
/// The bits of `Inner::linked` that stand for links.
const LINK_BITS: u32 = (1 << LINKS) - 1;

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
        let id = Self::take_id()?;
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
            stripe_bits,
            len: AtomicI32::new(0),
            lfactor: AtomicI32::new(0),
            grow_above: AtomicI32::new(i32::MAX),
            resizing: AtomicU32::new(0),
            id,
            _p: PhantomData,
        })
    }

    /// No number is given twice, so an object is never taken for one of another table.
    fn take_id() -> Result<u32> {
        let next = |id: u32| (id < (BUSY >> LINKS) - 1).then(|| id.wrapping_add(1));
        NEXT_ID
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .map_err(|_| ENOSPC)
    }

    #[inline]
    fn stripe(&self, hash: u32) -> u32 {
        hash & ((1 << self.stripe_bits) - 1)
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
            bits: b.bits,
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
            .store(self.id << LINKS | bits, Ordering::Release);
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
            if linked >> LINKS != self.id {
                return false;
            }
            let (a, b) = match linked & LINK_BITS {
                1 => (hash(0), hash(0)),
                2 => (hash(1), hash(1)),
                _ => (hash(0), hash(1)),
            };
            let guard = self.lock(a, b);
            // It may have been taken out, and put in again elsewhere, before we had the locks.
            let same = linked == inner.linked.load(Ordering::Acquire);
            let (x, y) = (self.stripe(hash(0)), self.stripe(hash(1)));
            let locked = |s| s == guard.a || s == guard.b;
            if same && (linked & 1 == 0 || locked(x)) && (linked & 2 == 0 || locked(y)) {
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

    /// Waits for whoever holds the lock of a stripe: after it they see what was stored before it.
    fn drain(&self) {
        for stripe in 0..1u32 << self.stripe_bits {
            drop(self.lock(stripe, stripe));
        }
    }

    /// Calls `f(object, link)` for all that is linked at `cursor`, and returns the cursor to go on
    /// with; start with 0, `None` is the end.
    ///
    /// What is in the table from start to end of such a walk is seen, whatever is added, removed or
    /// resized meanwhile; it may be seen twice. The cursor counts with the highest bit first, so
    /// that what it has passed in a small table it has passed in a large one.
    pub fn walk<'g>(
        &self,
        _rcu: Rcu<'g>,
        cursor: u64,
        mut f: impl FnMut(Ref<'g, T>, usize),
    ) -> Option<u64> {
        // All chains of one step are of one stripe.
        let seq = self.seq(cursor as u32);
        loop {
            let before = seq.load(Ordering::Acquire);
            let next = self.walk_once(cursor as u32, &mut f)?;
            fence(Ordering::Acquire);
            if before & 1 == 0 && seq.load(Ordering::Relaxed) == before {
                return (next != 0).then_some(next.into());
            }
            self.wait(cursor as u32);
        }
    }

    /// Calls `f` for what is linked under a hash that has its place in `places`, and now and then
    /// `go_on` and lets others run; stops when that is false. The place of a hash is the number it
    /// is with its highest bit last, so what belongs to a range does not depend on the number of
    /// buckets. Process context.
    ///
    /// What is in the table all the time is seen once, or again if it is moved meanwhile.
    pub fn for_each_place(
        &self,
        places: Range<u64>,
        mut go_on: impl FnMut() -> bool,
        mut f: impl FnMut(Ref<'_, T>, Rcu<'_>),
    ) {
        let end = places.end.min(1 << 32);
        let mut at = places.start;
        let mut guard = rcu::read_lock();
        while at < end && go_on() {
            let rcu = guard.rcu();
            let next = self.look_fast(rcu, at..end, |obj| f(obj, rcu));
            at = next.unwrap_or_else(|| self.look(rcu, at..end, &mut |obj| f(obj, rcu)));
            guard.resched();
        }
    }

    /// Calls `f` for what is linked at the first of `places`, and returns the place to go on with.
    #[cold]
    #[inline(never)]
    fn look<'g>(&self, rcu: Rcu<'g>, places: Range<u64>, f: &mut dyn FnMut(Ref<'g, T>)) -> u64 {
        let cursor = (places.start as u32).reverse_bits().into();
        let next = self.walk(rcu, cursor, |obj, slot| {
            if places.contains(&place(obj.hash(slot))) {
                f(obj);
            }
        });
        next.map_or(places.end, |cursor| place(cursor as u32))
    }

    /// Like [`Self::look`], but for more at once. `None` if a resize goes on or went on: then what
    /// was seen may not have been all.
    #[inline]
    fn look_fast<'g>(
        &self,
        _rcu: Rcu<'g>,
        places: Range<u64>,
        mut f: impl FnMut(Ref<'g, T>),
    ) -> Option<u64> {
        let cur = self.cur.load(Ordering::Acquire);
        // SAFETY: By the type's invariant, for as long as RCU is held.
        let cur: &'g Buckets = unsafe { cur.as_ref() }?;
        let apart = cur.bits.checked_sub(RUN_BITS)?;
        if !cur.next.load(Ordering::Acquire).is_null() {
            return None;
        }
        // Chains whose numbers differ in the highest bits only are next to each other in places.
        let run_places = 1u64.wrapping_shl(u32::BITS.wrapping_sub(apart));
        let apart = 1u32.wrapping_shl(apart);
        let mut start = places.start & run_places.wrapping_neg();
        let (mut seen, mut runs) = (0u32, 0u32);
        while start < places.end && seen < BATCH && runs < BATCH_RUNS {
            let next = start.wrapping_add(run_places);
            let whole = places.start <= start && next <= places.end;
            let first = (start as u32).reverse_bits();
            let mut used = cur.used(first, apart);
            while used != 0 {
                let at = first.wrapping_add(used.trailing_zeros().wrapping_mul(apart));
                visit(cur, at, &mut |obj: Ref<'g, T>, slot| {
                    if whole || places.contains(&place(obj.hash(slot))) {
                        f(obj);
                    }
                    seen = seen.wrapping_add(1);
                });
                used &= used.wrapping_sub(1);
            }
            start = next;
            runs = runs.wrapping_add(1);
        }
        // What a move took out of our sight it took after it set `next`, and buckets that have a
        // `next` keep it while RCU is held.
        fence(Ordering::Acquire);
        cur.next.load(Ordering::Relaxed).is_null().then_some(start)
    }

    /// One step of a walk, without care for moves. RCU is held for `'g`.
    fn walk_once<'g>(&self, mut at: u32, f: &mut impl FnMut(Ref<'g, T>, usize)) -> Option<u32> {
        let cur = self.cur.load(Ordering::Acquire);
        // SAFETY: By the type's invariant, for as long as RCU is held.
        let cur: &'g Buckets = unsafe { cur.as_ref() }?;
        let next = cur.next.load(Ordering::Acquire);
        // SAFETY: As above.
        let next: Option<&'g Buckets> = unsafe { next.as_ref() };
        let (small, large) = match next {
            Some(n) if n.mask < cur.mask => (n, Some(cur)),
            Some(n) => (cur, Some(n)),
            None => (cur, None),
        };
        visit(small, at, f);
        match large {
            None => at = advance(at, small.mask),
            Some(large) => loop {
                visit(large, at, f);
                at = advance(at, large.mask);
                if at & (small.mask ^ large.mask) == 0 {
                    break;
                }
            },
        }
        Some(at)
    }

    /// Calls `f` for each object, linked through `slot`, until it is done. Process context.
    pub fn for_each(&self, slot: usize, mut f: impl FnMut(Ref<'_, T>, Rcu<'_>)) {
        let mut guard = rcu::read_lock();
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let rcu = guard.rcu();
            cursor = self.walk(rcu, at, |obj, s| {
                if s == slot {
                    f(obj, rcu);
                }
            });
            guard.resched();
        }
    }

    /// Calls `f` with the number of links in each chain. Process context.
    pub fn chains(&self, mut f: impl FnMut(usize)) {
        let mut guard = rcu::read_lock();
        let mut cursor = Some(0);
        let mut seen = 0u32;
        while let Some(at) = cursor {
            let mut len = 0usize;
            cursor = self.walk(guard.rcu(), at, |_, _| len = len.wrapping_add(1));
            f(len);
            seen = seen.wrapping_add(1);
            if seen % 64 == 0 {
                guard.resched();
            }
        }
    }

    /// Gives the table buckets for the first time, or another number of them. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EBUSY` if another resize is running.
    pub fn resize(&self, shape: Shape) -> Result {
        if self.resizing.swap(1, Ordering::Acquire) != 0 {
            return Err(EBUSY);
        }
        let result = self.do_resize(shape);
        self.resizing.store(0, Ordering::Release);
        result
    }

    fn do_resize(&self, shape: Shape) -> Result {
        let bits = shape.bits.max(self.stripe_bits);
        let shaped = || {
            self.lfactor.store(shape.lfactor, Ordering::Relaxed);
            self.grow_above.store(shape.grow_above, Ordering::Relaxed);
        };
        // SAFETY: By the type's invariant; only resizes free buckets, and we are the only one.
        let old = unsafe { self.cur.load(Ordering::Acquire).as_ref() };
        if old.is_some_and(|o| o.bits == bits) {
            shaped();
            return Ok(());
        }
        let new = Buckets::alloc(bits)?;
        shaped();
        // SAFETY: Just made.
        let new_ref = unsafe { new.as_ref() };
        if let Some(old) = old {
            old.next.store(new.as_ptr(), Ordering::Release);
            // Who inserts reads `next` under the lock of a stripe. After this nobody adds to the
            // old buckets, so those that are empty stay that.
            self.drain();
            for bucket in 0..=old.mask {
                while self.move_some(old, new_ref, bucket) {}
                // SAFETY: Process context, no locks held.
                unsafe { raw::helpers::cond_resched() };
            }
        }
        self.cur.store(new.as_ptr(), Ordering::Release);
        if let Some(old) = old {
            // Readers may see two tables, never three: wait here, not in a callback.
            rcu::synchronize();
            // SAFETY: Allocated by kvzalloc(), and no reader is left.
            unsafe { raw::kvfree((&raw const *old).cast()) };
        }
        Ok(())
    }

    /// Moves links of one chain, a bounded number so that softirqs are not off for long.
    fn move_some(&self, old: &Buckets, new: &Buckets, bucket: u32) -> bool {
        let chain = old.chain(bucket);
        if chain.load(Ordering::Relaxed).is_null() {
            return false;
        }
        let _guard = self.lock(bucket, bucket);
        let seq = self.seq(bucket);
        seq.fetch_add(1, Ordering::Relaxed);
        // The odd number is seen before anything that is moved.
        fence(Ordering::Release);
        for _ in 0..64 {
            let link = chain.load(Ordering::Relaxed);
            if link.is_null() {
                break;
            }
            let (inner, slot) = Inner::<T>::from_link(link);
            // SAFETY: What is linked is a live object, and the stripe is locked.
            let hash = unsafe { &(*inner).hash }[slot & (LINKS - 1)].load(Ordering::Relaxed);
            // SAFETY: The stripe, which is that of both chains, is locked.
            unsafe { del(link) };
            // SAFETY: As above, and the link is in no chain now.
            unsafe { push(new.chain(hash), link) };
        }
        seq.fetch_add(1, Ordering::Release);
        !chain.load(Ordering::Relaxed).is_null()
    }

    /// Gives the buckets back. Does nothing if objects are in it or a resize is running.
    pub fn clear_buckets(&self) {
        if !self.is_empty() || self.resizing.swap(1, Ordering::Acquire) != 0 {
            return;
        }
        let old = self.cur.swap(ptr::null_mut(), Ordering::AcqRel);
        // Who was just adding to them has done so, and counted it.
        self.drain();
        if !self.is_empty() {
            self.cur.store(old, Ordering::Release);
        } else if !old.is_null() {
            self.grow_above.store(i32::MAX, Ordering::Relaxed);
            // SAFETY: Out of reach of new readers; the head is used for this only.
            unsafe { raw::call_rcu(&raw mut (*old).head, Some(Buckets::free)) };
        }
        self.resizing.store(0, Ordering::Release);
    }
}

impl<T: Object> Drop for Table<T> {
    /// Nobody can reach the table, so there are no readers either.
    fn drop(&mut self) {
        let cur = *self.cur.get_mut();
        // SAFETY: By the type's invariant.
        if let Some(b) = unsafe { cur.as_ref() } {
            for bucket in 0..=b.mask {
                loop {
                    let link = b.chain(bucket).load(Ordering::Relaxed);
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
unsafe fn push(chain: &AtomicPtr<Link>, link: *const Link) {
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

fn visit<'g, T: Object>(buckets: &'g Buckets, at: u32, f: &mut impl FnMut(Ref<'g, T>, usize)) {
    let mut link = buckets.chain(at).load(Ordering::Acquire);
    while !link.is_null() {
        let (inner, slot) = Inner::<T>::from_link(link);
        // SAFETY: What is linked is a live object, and RCU keeps it for `'g`.
        let obj: Ref<'g, T> = unsafe { Ref::from_raw(inner) };
        let hash = obj.0.hash[slot & (LINKS - 1)].load(Ordering::Relaxed);
        if (hash ^ at) & buckets.mask != 0 {
            // Moved while we looked at it: this is another chain.
            return;
        }
        f(obj, slot);
        // SAFETY: As above.
        link = unsafe { &*link }.next.load(Ordering::Acquire);
    }
}

/// The place of a hash.
#[inline]
fn place(hash: u32) -> u64 {
    hash.reverse_bits().into()
}

/// Adds one to the bits of `at` within `mask`, the highest first.
fn advance(at: u32, mask: u32) -> u32 {
    (at | !mask).reverse_bits().wrapping_add(1).reverse_bits()
}
