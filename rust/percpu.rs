// SPDX-License-Identifier: GPL-2.0
//! Counters of which each CPU has its own.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h)

use crate::{raw, raw::helpers};
use core::ptr::NonNull;
use kernel::prelude::*;

/// `N` counters of 64 bits.
///
/// # Invariants
///
/// Owns per-CPU memory of this size.
pub struct Counters<const N: usize>(NonNull<u64>);

// SAFETY: Each CPU changes its own, and reads of 64 bits are atomic: the project is for 64-bit
// machines only.
unsafe impl<const N: usize> Send for Counters<N> {}
// SAFETY: As above.
unsafe impl<const N: usize> Sync for Counters<N> {}

impl<const N: usize> Counters<N> {
    /// Counters at 0. Sleeps.
    pub fn new() -> Result<Self> {
        // SAFETY: No requirements.
        let p = unsafe { helpers::percpu_alloc(N * size_of::<u64>()) };
        // INVARIANT: Just allocated.
        Ok(Self(NonNull::new(p.cast()).ok_or(ENOMEM)?))
    }

    /// Adds 1 to counter `I` of each of three sets.
    #[inline]
    pub fn inc3<const I: usize>(a: &Self, b: &Self, c: &Self) {
        const { assert!(I < N) };
        // SAFETY: By the type's invariant, and `I` is below `N`.
        unsafe {
            helpers::percpu_inc3(
                a.0.as_ptr().wrapping_add(I),
                b.0.as_ptr().wrapping_add(I),
                c.0.as_ptr().wrapping_add(I),
            )
        };
    }

    /// Adds 1 to counter `I` and `bytes` to the one after it, of each of three sets.
    #[inline]
    pub fn count3<const I: usize>(a: &Self, b: &Self, c: &Self, bytes: u32) {
        const { assert!(I + 1 < N) };
        // SAFETY: By the type's invariant, and `I + 1` is below `N`.
        unsafe {
            helpers::percpu_count3(
                a.0.as_ptr().wrapping_add(I),
                b.0.as_ptr().wrapping_add(I),
                c.0.as_ptr().wrapping_add(I),
                bytes,
            )
        };
    }

    /// What one CPU counted; `None` if there cannot be such a CPU.
    pub fn of_cpu(&self, cpu: u32) -> Option<[u64; N]> {
        // SAFETY: By the type's invariant.
        let p = unsafe { helpers::percpu_ptr(self.0.as_ptr().cast(), cpu) }.cast::<u64>();
        if p.is_null() {
            return None;
        }
        let mut v = [0; N];
        for (i, v) in v.iter_mut().enumerate() {
            // SAFETY: There are `N`; each is read as a whole.
            *v = unsafe { p.wrapping_add(i).read_volatile() };
        }
        Some(v)
    }

    /// What all CPUs counted together.
    pub fn sum(&self) -> [u64; N] {
        let mut sum = [0u64; N];
        // SAFETY: By the type's invariant there are `N` counters, and `sum` has room for as many.
        unsafe { helpers::percpu_sum(self.0.as_ptr(), sum.as_mut_ptr(), N) };
        sum
    }
}

impl Counters<5> {
    /// All counters of all CPUs added up: the sum of [`Self::sum`].
    #[inline]
    pub fn total(&self) -> u64 {
        // SAFETY: By the type's invariant there are 5 counters.
        unsafe { helpers::percpu_total5(self.0.as_ptr()) }
    }
}

impl<const N: usize> Drop for Counters<N> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { helpers::percpu_free(self.0.as_ptr().cast()) };
    }
}

/// One more than the highest number of a CPU.
pub fn nr_cpu_ids() -> u32 {
    // SAFETY: Set at boot.
    unsafe { raw::nr_cpu_ids }
}
