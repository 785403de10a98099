// SPDX-License-Identifier: GPL-2.0
//! Delayed work that belongs to a counted object.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use crate::{
    raw,
    raw::helpers,
    rcu::{Arc, Object, Ref},
};
use core::{mem::offset_of, ops::Deref, ptr::NonNull};
use kernel::{prelude::*, types::Opaque};

/// What the works of a `T` do.
pub trait Worker: Sized + Send + Sync + 'static {
    /// Runs work `which`. Process context. To run again, queue it again.
    fn work(this: &Arc<Worked<Self>>, which: usize);
}

#[repr(C)]
struct Work {
    work: Opaque<raw::delayed_work>,
    which: usize,
}

/// How many works an object has.
pub const WORKS: usize = 8;

/// A `T` with works, numbered from 0, to be kept in an [`Arc`].
///
/// # Invariants
///
/// A queued work owns one count of the object.
#[repr(C)]
#[pin_data]
pub struct Worked<T> {
    #[pin]
    works: [Work; WORKS],
    #[pin]
    value: T,
}

// SAFETY: Works have their own locking.
unsafe impl<T: Send> Send for Worked<T> {}
// SAFETY: As above.
unsafe impl<T: Sync> Sync for Worked<T> {}
impl<T: Worker> Object for Worked<T> {}

impl<T: Worker> Worked<T> {
    /// Wraps a value.
    pub fn new<E>(value: impl PinInit<T, E>) -> impl PinInit<Self, E> {
        let works = |slot: *mut [Work; WORKS]| {
            for which in 0..WORKS {
                let w = slot.cast::<Work>().wrapping_add(which);
                // SAFETY: `slot` is memory for the works, which stay in place.
                unsafe { (&raw mut (*w).which).write(which) };
                // SAFETY: As above.
                unsafe { helpers::delayed_work_init((*w).work.get(), Some(Self::run)) };
            }
            Ok::<(), E>(())
        };
        // SAFETY: The closure initializes all of the slot, and does not fail.
        let works = unsafe { pin_init::pin_init_from_closure::<[Work; WORKS], E>(works) };
        pin_init!(Self {
            works <- works,
            value <- value,
        }? E)
    }

    /// Queues work `which` to run after `delay` jiffies, if it is not queued.
    pub fn queue(this: Ref<'_, Self>, which: usize, delay: u64) {
        let (Some(w), Some(arc)) = (this.value().works.get(which), this.get()) else {
            return;
        };
        // SAFETY: Initialized in `new`.
        if unsafe { helpers::delayed_work_queue(w.work.get(), delay as c_ulong) } {
            // INVARIANT: The count is now the work's.
            let _ = arc.into_raw();
        }
    }

    /// Queues work `which` to run after `delay` jiffies, whatever it was queued for.
    pub fn requeue(this: Ref<'_, Self>, which: usize, delay: u64) {
        if let Some(w) = this.value().works.get(which) {
            // SAFETY: Initialized in `new`.
            if unsafe { raw::cancel_delayed_work(w.work.get()) } {
                // SAFETY: It was queued, and its count is ours now.
                drop(unsafe { Arc::from_raw(NonNull::from(this.0)) });
            }
        }
        Self::queue(this, which, delay);
    }

    /// Stops work `which` for good: takes it off the queue, waits until it does not run any more;
    /// queueing it does nothing from then on. Sleeps.
    pub fn stop(this: &Arc<Self>, which: usize) {
        let Some(w) = this.works.get(which) else {
            return;
        };
        // SAFETY: Initialized in `new`.
        if unsafe { helpers::delayed_work_stop(w.work.get()) } {
            // SAFETY: It was queued, and its count is ours now.
            drop(unsafe { Arc::from_raw(NonNull::from(this.as_ref().0)) });
        }
    }

    /// # Safety
    ///
    /// Called by the kernel, with a work that was queued.
    unsafe extern "C" fn run(work: *mut raw::work_struct) {
        const { assert!(offset_of!(Work, work) == 0 && offset_of!(Worked<T>, works) == 0) };
        // The `work_struct` is first in the `delayed_work`.
        const { assert!(offset_of!(raw::delayed_work, work) == 0) };
        let w = work.cast::<Work>();
        // SAFETY: One of the works of an object.
        let which = unsafe { (*w).which };
        let this = w.wrapping_sub(which).cast::<Self>();
        // SAFETY: The works are the first field, and the object is in an `Arc`.
        let this = unsafe { Ref::from_value(this) };
        // SAFETY: The work owned a count, and it is ours now.
        let this = unsafe { Arc::from_raw(NonNull::from(this.0)) };
        T::work(&this, which);
    }
}

impl<T> Deref for Worked<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}
