// SPDX-License-Identifier: GPL-2.0
//! What only C can declare: module parameters with permissions; and what sizes depend on.

use crate::raw::{self, helpers};
use core::sync::atomic::{AtomicI32, Ordering};

fn bits() -> &'static AtomicI32 {
    // SAFETY: A static; the kernel reads and writes it as a whole.
    unsafe { AtomicI32::from_ptr(&raw mut raw::ipvs_conn_tab_bits) }
}

/// The parameter `conn_tab_bits`, as given.
pub fn conn_tab_bits() -> i32 {
    bits().load(Ordering::Relaxed)
}

/// Says what `conn_tab_bits` comes to, as users see it in /sys/module.
pub fn set_conn_tab_bits(bits: i32) {
    self::bits().store(bits, Ordering::Relaxed);
}

/// Pages that are free or hold buffers of block devices.
pub fn free_and_buffer_pages() -> u64 {
    // SAFETY: No requirements.
    unsafe { helpers::free_and_buffer_pages() }
}

/// Pages that allocations without special needs could have.
pub fn free_buffer_pages() -> usize {
    // SAFETY: No requirements.
    (unsafe { raw::nr_free_buffer_pages() }) as usize
}

/// log2 of the bytes of memory there are, rounded up.
pub fn total_ram_bits() -> u32 {
    // SAFETY: No requirements.
    unsafe { helpers::total_ram_bits() }
}
