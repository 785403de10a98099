// SPDX-License-Identifier: GPL-2.0
//! Objects with a deadline, and a timer that costs a packet nothing.
//!
//! Moving the deadline is a store. The timer is not touched: when it fires before the deadline, it
//! starts itself again for the rest. Only a deadline before the time the timer is set to needs the
//! timer wheel.
//!
//! C header: [`include/linux/timer.h`](srctree/include/linux/timer.h)

use crate::{
    raw,
    rcu::{self, Object, Rcu, Ref},
};
use core::{
    ops::Deref,
    sync::atomic::{fence, AtomicU64, Ordering},
};
use kernel::{prelude::*, types::Opaque};

/// Jiffies a second.
pub const HZ: u32 = raw::KNET_HZ;

/// Now, in jiffies.
#[inline]
pub fn jiffies() -> u64 {
    // SAFETY: A counter that is only ever read as a whole.
    (unsafe { (&raw const raw::jiffies).read_volatile() }) as u64
}

/// Whether `a` comes before `b`.
#[inline]
pub fn time_before(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) < 0
}

/// What happens when the deadline has passed.
pub trait Expire: Sized + Send + Sync + 'static {
    /// Called in softirq, or by whoever won [`Timed::claim`]. The timer is stopped: take the object
    /// out of where it is, or give it another deadline with [`Timed::restart`].
    fn expire(this: Ref<'_, Timed<Self>>, rcu: Rcu<'_>);
}

/// A `T` with a deadline, to be kept in an [`Arc`](crate::rcu::Arc).
#[repr(C)]
#[pin_data]
pub struct Timed<T> {
    #[pin]
    timer: Opaque<raw::timer_list>,
    deadline: AtomicU64,
    value: T,
}

// SAFETY: The timer has its own locking.
unsafe impl<T: Send> Send for Timed<T> {}
// SAFETY: As above.
unsafe impl<T: Sync> Sync for Timed<T> {}

impl<T: Expire> Object for Timed<T> {
    fn release(&self) {
        // From here on starting it does nothing. If it runs now, it does so in softirq, which the
        // grace period before the object is freed waits for.
        // SAFETY: Initialized in `new`.
        unsafe { raw::timer_shutdown(self.timer.get()) };
    }
}

impl<T: Expire> Timed<T> {
    /// Wraps `value`; the timer is not started.
    #[inline]
    pub fn new(value: T, deadline: u64) -> impl PinInit<Self> {
        pin_init!(Self {
            timer <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is memory for a timer, which stays in place.
                unsafe { raw::helpers::timer_setup(slot, Some(Self::fire)) };
            }),
            deadline: AtomicU64::new(deadline),
            value,
        })
    }

    /// When it expires, in jiffies.
    #[inline]
    pub fn deadline(&self) -> u64 {
        self.deadline.load(Ordering::Relaxed)
    }

    /// When the timer is set to fire.
    #[inline]
    fn armed(&self) -> u64 {
        // SAFETY: Initialized in `new`; a stale value only costs a call.
        (unsafe { (&raw const (*self.timer.get()).expires).read_volatile() }) as u64
    }

    /// Moves the deadline. Does not start a stopped timer.
    #[inline]
    pub fn touch(&self, deadline: u64) {
        let old = self.deadline.load(Ordering::Relaxed);
        self.deadline.store(deadline, Ordering::Relaxed);
        // The timer never fires later than the deadline, so a later one needs nothing.
        if time_before(deadline, old) {
            self.pull_in(deadline);
        }
    }

    #[cold]
    fn pull_in(&self, deadline: u64) {
        // Either we see what `fire` set the timer to, or `fire` sees our deadline.
        fence(Ordering::SeqCst);
        if time_before(deadline, self.armed()) {
            // SAFETY: Initialized in `new`. If it is firing right now this does nothing, and
            // `fire` looks at the deadline again.
            unsafe { raw::mod_timer_pending(self.timer.get(), deadline as c_ulong) };
        }
    }

    /// Sets the deadline and starts the timer. Takes a [`Ref`], which only the content of an `Arc`
    /// has: what is elsewhere would not stop the timer when it goes.
    #[inline]
    pub fn restart(this: Ref<'_, Self>, deadline: u64) {
        let this = this.value();
        this.deadline.store(deadline, Ordering::Relaxed);
        // SAFETY: Initialized in `new`; does nothing after `release`.
        unsafe { raw::mod_timer(this.timer.get(), deadline as c_ulong) };
        // Who moved the deadline meanwhile may have found the timer stopped.
        fence(Ordering::SeqCst);
        let now = this.deadline();
        if time_before(now, deadline) {
            this.pull_in(now);
        }
    }

    /// Stops the timer if it was running. The winner then calls [`Expire::expire`] or
    /// [`Self::restart`].
    pub fn claim(&self) -> bool {
        // SAFETY: Initialized in `new`.
        unsafe { raw::timer_delete(self.timer.get()) != 0 }
    }

    /// # Safety
    ///
    /// Called by the kernel, with the timer of an object in an `Arc`.
    unsafe extern "C" fn fire(timer: *mut raw::timer_list) {
        const { assert!(core::mem::offset_of!(Timed<T>, timer) == 0) };
        let guard = rcu::read_lock();
        // SAFETY: The timer is the first field of an object in an `Arc`. It is not freed: either it
        // is counted, or `release` found the timer firing and a grace period waits for us.
        let this = unsafe { Ref::from_value(timer.cast::<Self>()) };
        let mut deadline = this.deadline();
        if time_before(jiffies(), deadline) {
            loop {
                // SAFETY: Initialized in `new`; does nothing after `release`.
                unsafe { raw::mod_timer(timer, deadline as c_ulong) };
                // Pairs with the one in `pull_in`.
                fence(Ordering::SeqCst);
                let now = this.deadline();
                if !time_before(now, deadline) {
                    return;
                }
                deadline = now;
            }
        }
        T::expire(this, guard.rcu());
    }
}

impl<T> Deref for Timed<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}
