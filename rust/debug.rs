// SPDX-License-Identifier: GPL-2.0
//! Messages for who looks for a fault. While nobody does, asking whether to print one is an
//! instruction that does nothing.
//!
//! C header: [`include/linux/jump_label.h`](srctree/include/linux/jump_label.h)

use crate::raw;
use core::{
    fmt,
    sync::atomic::{AtomicI32, Ordering},
};
use kernel::sync::Mutex;

/// Messages of this level and those below are printed.
static LEVEL: AtomicI32 = AtomicI32::new(0);

/// Whether any messages are wanted.
#[inline(always)]
pub fn is_on() -> bool {
    // SAFETY: A static key that C defines.
    unsafe {
        kernel::jump_label::static_branch_unlikely!(
            raw::ipvs_helper_debug_switch,
            raw::knet_debug_switch,
            key
        )
    }
}

/// Whether a message of `level`, above 0, is wanted now: not too many a second.
#[cold]
pub fn wants(level: i32) -> bool {
    level <= LEVEL.load(Ordering::Relaxed) && crate::ratelimit()
}

/// The greatest level that is printed; 0: nothing is.
pub fn level() -> i32 {
    LEVEL.load(Ordering::Relaxed)
}

/// Changes what is printed. `serial`: one lock for all who call this. Sleeps.
pub fn set_level<T>(level: i32, serial: &Mutex<T>) {
    let _serial = serial.lock();
    LEVEL.store(level, Ordering::Relaxed);
    // SAFETY: No requirements but a context that may sleep.
    unsafe { raw::helpers::debug_set(level > 0) };
}

/// Prints a message for debugging.
#[cold]
pub fn print(prefix: &'static [u8], args: fmt::Arguments<'_>) {
    let Some(0) = prefix.last() else {
        return;
    };
    // SAFETY: One of the kernel's format strings, and the prefix ends with NUL.
    unsafe { kernel::print::call_printk(&kernel::print::format_strings::DEBUG, prefix, args) };
}
