// SPDX-License-Identifier: GPL-2.0
//! Loading modules, and keeping them loaded.
//!
//! C header: [`include/linux/kmod.h`](srctree/include/linux/kmod.h)

use crate::raw;
use kernel::{error::to_result, prelude::*};

/// Longest name of a module, with the NUL. Nothing longer can be loaded.
const NAME_MAX: usize = 56;

/// Loads the module named `prefix` followed by `name`, which ends at its first NUL if it has one.
///
/// Waits for modprobe. `Ok` does not tell that there is such a module: look for what it registers.
///
/// # Errors
///
/// `ENAMETOOLONG`, and those of running modprobe.
pub fn request(prefix: &str, name: &[u8]) -> Result {
    let mut buf = [0u8; NAME_MAX];
    let name = name.iter().take_while(|c| **c != 0);
    let mut bytes = Iterator::chain(prefix.as_bytes().iter(), name);
    // The last byte stays NUL.
    for (to, from) in buf.iter_mut().take(NAME_MAX - 1).zip(&mut bytes) {
        *to = *from;
    }
    if bytes.next().is_some() {
        return Err(ENAMETOOLONG);
    }
    // SAFETY: Both are NUL-terminated, and the format takes one string.
    let ret = unsafe { raw::__request_module(true, c"%s".as_char_ptr(), buf.as_ptr()) };
    // More than 0 is how modprobe exited.
    if ret > 0 {
        Ok(())
    } else {
        to_result(ret)
    }
}

/// Keeps a module loaded until dropped.
///
/// # Invariants
///
/// Owns a reference of the module.
pub struct ModuleRef(&'static ThisModule);

impl ModuleRef {
    /// A reference, unless the module is about to go.
    pub fn get(module: &'static ThisModule) -> Option<Self> {
        // SAFETY: The pointer is that of a module, or null for code that is built in.
        // INVARIANT: The reference is taken.
        unsafe { raw::try_module_get(module.as_ptr()) }.then_some(Self(module))
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: The reference is ours, by the type's invariant.
        unsafe { raw::module_put(self.0.as_ptr()) };
    }
}
