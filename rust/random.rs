// SPDX-License-Identifier: GPL-2.0
//! Random numbers.
//!
//! C header: [`include/linux/random.h`](srctree/include/linux/random.h)

use crate::raw;

/// A key of 128 bits.
pub fn key() -> [u64; 2] {
    let mut key = [0u64; 2];
    // SAFETY: The buffer has this size.
    unsafe { raw::get_random_bytes(key.as_mut_ptr().cast(), size_of_val(&key)) };
    key
}

/// 32 bits.
#[inline]
pub fn word() -> u32 {
    // SAFETY: Can be called in every context.
    unsafe { raw::get_random_u32() }
}
