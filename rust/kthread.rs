// SPDX-License-Identifier: GPL-2.0
//! Threads of the kernel.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use crate::{cpulist::CpuList, raw, raw::helpers};
use core::{ops::Deref, ptr::NonNull};
use kernel::{error::from_err_ptr, prelude::*, types::NotThreadSafe};

/// What a thread does.
pub trait Body: Send + Sync + 'static {
    /// Runs in the thread, until it is done or [`Here::should_stop`].
    fn run(&self, here: &Here);
}

/// The thread that has this is one of ours.
///
/// # Invariants
///
/// Only exists in a kernel thread.
pub struct Here(NotThreadSafe);

impl Here {
    /// Whether somebody waits for the thread to end.
    #[inline]
    pub fn should_stop(&self) -> bool {
        // SAFETY: A kernel thread, by the type's invariant.
        unsafe { raw::kthread_should_stop() }
    }

    /// Sleeps, at most for so many jiffies, without counting as load. Ends early when the thread is
    /// to stop.
    pub fn sleep(&self, jiffies: u64) {
        let jiffies = c_long::try_from(jiffies).unwrap_or(c_long::MAX);
        // SAFETY: A kernel thread that holds nothing, by the type's invariant.
        unsafe { helpers::kthread_sleep(jiffies) };
    }

    /// Nanoseconds the thread has used the CPU for, until it slept or was interrupted last.
    pub fn runtime(&self) -> u64 {
        // SAFETY: No requirements.
        unsafe { helpers::current_runtime() }
    }
}

/// How a thread is scheduled.
#[derive(Clone, Copy)]
pub struct Scheduling<'a> {
    /// Its niceness, -20 to 19.
    pub nice: i32,
    /// CPUs it should run on, if that matters.
    pub cpus: Option<&'a CpuList>,
}

/// A thread. Dropping this makes it stop and waits for that, so that must be in process context.
///
/// # Invariants
///
/// Owns a count of `task`, which runs `main::<B>` with `body`, or did.
pub struct Thread<B: Body> {
    task: NonNull<raw::task_struct>,
    body: KBox<B>,
}

// SAFETY: Threads can be stopped from everywhere, and `B` is shared with the thread.
unsafe impl<B: Body> Send for Thread<B> {}
// SAFETY: As above.
unsafe impl<B: Body> Sync for Thread<B> {}

impl<B: Body> Thread<B> {
    /// Starts a thread. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EINTR` if the current task is being killed.
    pub fn start(name: &CStr, scheduling: Scheduling<'_>, body: B) -> Result<Self> {
        let body = KBox::new(body, GFP_KERNEL)?;
        let data = (&raw const *body).cast_mut().cast();
        // SAFETY: `main` gets a `B` that stays where it is until the thread has ended; the name is
        // copied.
        let task = from_err_ptr(unsafe {
            helpers::kthread_create(Some(main::<B>), data, name.as_char_ptr())
        })?;
        // INVARIANT: Just made, with a count of it.
        let this = Self {
            task: NonNull::new(task).ok_or(ENOMEM)?,
            body,
        };
        // SAFETY: A thread that has not run yet.
        unsafe { raw::set_user_nice(task, scheduling.nice as c_long) };
        if scheduling.cpus.is_some() {
            // Without effect, which it should not be, the thread runs anywhere.
            // SAFETY: As above, and a valid mask, which is copied.
            let _ = unsafe { raw::kthread_affine_preferred(task, CpuList::raw(scheduling.cpus)) };
        }
        // SAFETY: A valid task.
        unsafe { raw::wake_up_process(task) };
        Ok(this)
    }
}

impl<B: Body> Deref for Thread<B> {
    type Target = B;
    fn deref(&self) -> &B {
        &self.body
    }
}

impl<B: Body> Drop for Thread<B> {
    fn drop(&mut self) {
        // Waits until `main` has returned, or, if it was never called, will never be: after this
        // nobody uses `body`.
        // SAFETY: A kernel thread, by the type's invariant; the count is given up.
        unsafe { raw::kthread_stop_put(self.task.as_ptr()) };
    }
}

/// # Safety
///
/// Called by the kernel in a thread made by `Thread::start`.
unsafe extern "C" fn main<B: Body>(data: *mut c_void) -> c_int {
    // SAFETY: The body, which is there until the thread has ended.
    let body = unsafe { &*data.cast::<B>() };
    // INVARIANT: A kernel thread.
    body.run(&Here(NotThreadSafe));
    0
}
