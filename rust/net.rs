// SPDX-License-Identifier: GPL-2.0
//! Network namespaces.
//!
//! C header: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)

use crate::{raw, rcu};
use core::ptr;
use kernel::{prelude::*, types::Opaque};

/// A network namespace.
#[repr(transparent)]
pub struct Net(Opaque<raw::net>);

// SAFETY: What is reached through this is immutable or has its own locking.
unsafe impl Sync for Net {}
// SAFETY: As above.
unsafe impl Send for Net {}

impl Net {
    /// # Safety
    ///
    /// `p` is valid for `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(p: *const raw::net) -> &'a Self {
        // SAFETY: By the requirement; the layouts are the same.
        unsafe { &*p.cast() }
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut raw::net {
        self.0.get()
    }

    /// Whether it is the one that exists from boot.
    pub fn is_init(&self) -> bool {
        ptr::eq(self.as_ptr(), &raw const raw::init_net)
    }

    /// Whether it is owned by the initial user namespace.
    pub fn is_privileged(&self) -> bool {
        // SAFETY: `self` is valid, and the owner never changes.
        let user_ns = unsafe { (*self.as_ptr()).user_ns };
        ptr::eq(user_ns, &raw const raw::init_user_ns)
    }

    /// Whether the current task has CAP_NET_ADMIN in the user namespace that owns this.
    pub fn is_admin(&self) -> bool {
        // SAFETY: `self` is valid, and the owner never changes.
        let user_ns = unsafe { (*self.as_ptr()).user_ns };
        // SAFETY: A namespace keeps its owner.
        unsafe { raw::ns_capable(user_ns, raw::CAP_NET_ADMIN as c_int) }
    }

    /// Whether a device has this name now, which ends with a NUL or with the array.
    pub fn has_device(&self, name: &[u8; raw::IFNAMSIZ as usize]) -> bool {
        let mut name = *name;
        if let Some(last) = name.last_mut() {
            *last = 0;
        }
        let _guard = rcu::read_lock();
        // SAFETY: `self` is valid, the name has an end, and this is under RCU.
        let dev = unsafe { raw::dev_get_by_name_rcu(self.as_ptr(), name.as_ptr().cast()) };
        !dev.is_null()
    }

    /// Whether only privileged programs may listen on a port.
    pub fn is_privileged_port(&self, port: u16) -> bool {
        // SAFETY: `self` is valid.
        unsafe { raw::helpers::port_requires_bind_service(self.as_ptr(), port) }
    }
}

/// Whether the current task has CAP_NET_ADMIN in the initial user namespace.
pub fn is_net_admin() -> bool {
    // SAFETY: No requirements.
    unsafe { raw::capable(raw::CAP_NET_ADMIN as c_int) }
}

/// Whether IPv6 is there and not switched off.
pub fn has_ipv6() -> bool {
    // SAFETY: No requirements.
    unsafe { raw::helpers::has_ipv6() }
}
