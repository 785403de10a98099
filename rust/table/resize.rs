// SPDX-License-Identifier: GPL-2.0
//! How a hash table gets its buckets, others, and none.

use super::{del, push, Buckets, Head, Shape, Table};
use crate::{
    raw,
    rcu::{self, Inner, Object, LINKS},
};
use core::{
    ptr,
    sync::atomic::{fence, Ordering},
};
use kernel::prelude::*;

/// Links that are moved under one lock, so that softirqs are not off for long.
const BATCH: usize = 64;

impl<T: Object> Table<T> {
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
        let bits = shape.bits.max(u32::BITS.wrapping_sub(self.stripe_shift));
        let shaped = || {
            self.lfactor.store(shape.lfactor, Ordering::Relaxed);
            self.grow_above.store(shape.grow_above, Ordering::Relaxed);
        };
        // SAFETY: By the type's invariant; only resizes free buckets, and we are the only one.
        let old = unsafe { self.cur.load(Ordering::Acquire).as_ref() };
        if old.is_some_and(|o| o.bits() == bits) {
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
            for (n, chain) in old.chains().iter().enumerate() {
                let hash = (n as u64).wrapping_shl(old.shift) as u32;
                while self.move_some(chain, hash, new_ref) {}
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

    /// Moves links of the chain that `hash` is of, and tells whether there are more.
    fn move_some(&self, chain: &Head, hash: u32, new: &Buckets) -> bool {
        if chain.load(Ordering::Relaxed).is_null() {
            return false;
        }
        let _guard = self.lock(hash, hash);
        let seq = self.seq(hash);
        seq.fetch_add(1, Ordering::Relaxed);
        // The odd number is seen before anything that is moved.
        fence(Ordering::Release);
        for _ in 0..BATCH {
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

    /// Waits for whoever holds the lock of a stripe: after it they see what was stored before it.
    fn drain(&self) {
        for stripe in 0..self.seqs.len() as u64 {
            let hash = stripe.wrapping_shl(self.stripe_shift) as u32;
            drop(self.lock(hash, hash));
        }
    }
}
