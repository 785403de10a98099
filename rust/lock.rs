// SPDX-License-Identifier: GPL-2.0
//! A spin lock that softirqs and processes share.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use crate::raw::{self, helpers};
use core::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
};
use kernel::{prelude::*, types::NotThreadSafe, types::Opaque};

/// Data under a spin lock that is taken with softirqs off.
#[pin_data]
pub struct SpinLockBh<T> {
    #[pin]
    lock: Opaque<raw::spinlock_t>,
    data: UnsafeCell<T>,
}

// SAFETY: The lock lets one at a time at the data.
unsafe impl<T: Send> Send for SpinLockBh<T> {}
// SAFETY: As above.
unsafe impl<T: Send> Sync for SpinLockBh<T> {}

impl<T> SpinLockBh<T> {
    /// A lock around `data`.
    pub fn new(data: T) -> impl PinInit<Self> {
        pin_init!(Self {
            lock <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is memory for a lock, which stays in place.
                unsafe { helpers::spin_lock_init(slot) };
            }),
            data: UnsafeCell::new(data),
        })
    }

    /// Takes the lock.
    #[inline]
    pub fn lock(&self) -> GuardBh<'_, T> {
        // SAFETY: Initialized in `new`.
        unsafe { helpers::spin_lock_bh(self.lock.get()) };
        GuardBh(self, NotThreadSafe)
    }
}

/// The lock, held until dropped.
pub struct GuardBh<'a, T>(&'a SpinLockBh<T>, NotThreadSafe);

impl<T> Deref for GuardBh<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: The lock is held.
        unsafe { &*self.0.data.get() }
    }
}

impl<T> DerefMut for GuardBh<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The lock is held.
        unsafe { &mut *self.0.data.get() }
    }
}

impl<T> Drop for GuardBh<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Taken by `lock`.
        unsafe { helpers::spin_unlock_bh(self.0.lock.get()) };
    }
}
