// SPDX-License-Identifier: GPL-2.0
//! Sets of CPUs that users write as lists.
//!
//! C header: [`include/linux/cpumask.h`](srctree/include/linux/cpumask.h)

use crate::{raw, raw::helpers};
use core::ptr::{self, NonNull};
use kernel::{error::to_result, prelude::*};

/// A set of CPUs.
///
/// # Invariants
///
/// Owns a mask that `cpulist_alloc()` made.
pub struct CpuList(NonNull<raw::cpumask>);

// SAFETY: Memory that only changes in `parse`.
unsafe impl Send for CpuList {}
// SAFETY: As above.
unsafe impl Sync for CpuList {}

impl CpuList {
    /// The CPUs of a list such as "0-2,7", without those that the current task may not use.
    ///
    /// # Errors
    ///
    /// `EINVAL`, `ERANGE` and such for what is no list; `ENOMEM`.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let mut terminated = KVec::with_capacity(text.len().saturating_add(1), GFP_KERNEL)?;
        terminated.extend_from_slice(text, GFP_KERNEL)?;
        terminated.push(0, GFP_KERNEL)?;
        // SAFETY: No requirements.
        let mask = unsafe { helpers::cpulist_alloc() };
        // INVARIANT: Just made.
        let this = Self(NonNull::new(mask).ok_or(ENOMEM)?);
        // SAFETY: A text with a 0 at its end, and a mask that is ours alone.
        to_result(unsafe { helpers::cpulist_parse(terminated.as_ptr().cast(), this.0.as_ptr()) })?;
        Ok(this)
    }

    /// The mask; null for none.
    pub(crate) fn raw(this: Option<&Self>) -> *const raw::cpumask {
        this.map_or(ptr::null(), |list| list.0.as_ptr())
    }
}

impl Drop for CpuList {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { raw::kfree(self.0.as_ptr().cast()) };
    }
}

/// How many CPUs there are in a list; without one, in that of CPUs for the kernel's threads.
pub fn weight(list: Option<&CpuList>) -> u32 {
    // SAFETY: Null or a valid mask.
    unsafe { helpers::cpulist_weight(CpuList::raw(list)) }
}

/// Writes a list and a newline, as much as there is room for, and gives the length. Without a list
/// it is that of CPUs for the kernel's threads.
pub fn print(list: Option<&CpuList>, room: &mut [u8]) -> Result<usize> {
    // The kernel wants to end it with a 0.
    let size = room.len().saturating_add(1);
    let mut text = KVec::from_elem(0u8, size, GFP_KERNEL)?;
    // SAFETY: Null or a valid mask, and a buffer of this size.
    let len = unsafe { helpers::cpulist_print(CpuList::raw(list), text.as_mut_ptr().cast(), size) };
    let len = usize::try_from(len).unwrap_or(0).min(room.len());
    room.iter_mut()
        .zip(&text)
        .for_each(|(to, from)| *to = *from);
    Ok(len)
}
