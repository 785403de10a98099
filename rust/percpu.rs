// SPDX-License-Identifier: GPL-2.0
//! Counters of which each CPU has its own.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h)

use crate::{raw, raw::helpers};
use core::ptr::NonNull;
use kernel::{prelude::*, sync::Arc};

/// Sets that are allocated together. The kernel looks through all that is free for each allocation,
/// so few are better; but one set that stays keeps the memory of all.
const TOGETHER: usize = 8;

/// Per-CPU memory.
///
/// # Invariants
///
/// Owns memory for [`TOGETHER`] sets of `N` counters, at 0 when it was made.
struct Block<const N: usize>(NonNull<u64>);

impl<const N: usize> Block<N> {
    fn new() -> Result<Self> {
        // SAFETY: No requirements.
        let p = unsafe { helpers::percpu_alloc(TOGETHER * N * size_of::<u64>()) };
        // INVARIANT: Just allocated, which clears it.
        Ok(Self(NonNull::new(p.cast()).ok_or(ENOMEM)?))
    }
}

impl<const N: usize> Drop for Block<N> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { helpers::percpu_free(self.0.as_ptr().cast()) };
    }
}

// SAFETY: Freed from everywhere; what is in it is the business of who has it.
unsafe impl<const N: usize> Send for Block<N> {}
// SAFETY: As above.
unsafe impl<const N: usize> Sync for Block<N> {}

/// Where sets of counters come from. Its memory lives as long as a set that came from it.
///
/// # Invariants
///
/// Of `block` the first `taken` sets were given away, and no others.
pub struct Pool<const N: usize> {
    block: Option<Arc<Block<N>>>,
    taken: usize,
}

impl<const N: usize> Pool<N> {
    /// Without memory yet.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        // INVARIANT: No block.
        Self {
            block: None,
            taken: 0,
        }
    }
}

/// `N` counters of 64 bits.
///
/// # Invariants
///
/// A set of `N` counters in the block, which nobody else has.
pub struct Counters<const N: usize> {
    set: *mut u64,
    _block: Arc<Block<N>>,
}

// SAFETY: Each CPU changes its own, and reads of 64 bits are atomic: the project is for 64-bit
// machines only.
unsafe impl<const N: usize> Send for Counters<N> {}
// SAFETY: As above.
unsafe impl<const N: usize> Sync for Counters<N> {}

impl<const N: usize> Counters<N> {
    /// Counters at 0. Sleeps.
    pub fn new(pool: &mut Pool<N>) -> Result<Self> {
        let block = match pool.block.take() {
            Some(block) => block,
            None => {
                pool.taken = 0;
                Arc::new(Block::new()?, GFP_KERNEL)?
            }
        };
        let set = block.0.as_ptr().wrapping_add(pool.taken * N);
        // INVARIANT: This one is given away now, and a pool that has none left has no block.
        pool.taken += 1;
        if pool.taken < TOGETHER {
            pool.block = Some(block.clone());
        }
        // INVARIANT: By the pool's invariant nobody has it.
        Ok(Self { set, _block: block })
    }

    #[inline]
    fn at(&self, i: usize) -> *mut u64 {
        self.set.wrapping_add(i)
    }

    /// Adds 1 to counter `I` of each of three sets.
    #[inline]
    pub fn inc3<const I: usize>(a: &Self, b: &Self, c: &Self) {
        const { assert!(I < N) };
        // SAFETY: By the type's invariant, and `I` is below `N`.
        unsafe { helpers::percpu_inc3(a.at(I), b.at(I), c.at(I)) };
    }

    /// Adds 1 to counter `I` and `bytes` to the one after it, of each of three sets.
    #[inline]
    pub fn count3<const I: usize>(a: &Self, b: &Self, c: &Self, bytes: u32) {
        const { assert!(I + 1 < N) };
        // SAFETY: By the type's invariant, and `I + 1` is below `N`.
        unsafe { helpers::percpu_count3(a.at(I), b.at(I), c.at(I), bytes) };
    }

    /// What one CPU counted; `None` if there cannot be such a CPU.
    pub fn of_cpu(&self, cpu: u32) -> Option<[u64; N]> {
        // SAFETY: By the type's invariant.
        let p = unsafe { helpers::percpu_ptr(self.at(0).cast(), cpu) }.cast::<u64>();
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
        unsafe { helpers::percpu_sum(self.at(0), sum.as_mut_ptr(), N) };
        sum
    }
}

impl Counters<5> {
    /// All counters of all CPUs added up: the sum of [`Self::sum`].
    #[inline]
    pub fn total(&self) -> u64 {
        // SAFETY: By the type's invariant there are 5 counters.
        unsafe { helpers::percpu_total5(self.at(0)) }
    }
}

/// One more than the highest number of a CPU.
pub fn nr_cpu_ids() -> u32 {
    // SAFETY: Set at boot.
    unsafe { raw::nr_cpu_ids }
}
