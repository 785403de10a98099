// SPDX-License-Identifier: GPL-2.0
//! Network devices, and notice of what happens to them.
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use crate::{net::Net, raw, raw::helpers};
use core::{marker::PhantomData, ptr};
use kernel::{error::to_result, prelude::*, types::Opaque};

/// A network device.
#[repr(transparent)]
pub struct NetDevice(Opaque<raw::net_device>);

impl NetDevice {
    /// # Safety
    ///
    /// `p` is valid for `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(p: *const raw::net_device) -> &'a Self {
        // SAFETY: By the requirement; the layouts are the same.
        unsafe { &*p.cast() }
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut raw::net_device {
        self.0.get()
    }

    /// Its number in its namespace.
    pub fn ifindex(&self) -> i32 {
        // SAFETY: `self` is valid.
        unsafe { helpers::dev_ifindex(self.as_ptr()) }
    }

    /// Its name now: it can be renamed.
    pub fn name(&self) -> &CStr {
        // SAFETY: `self` is valid.
        let name = unsafe { helpers::dev_name(self.as_ptr()) };
        // SAFETY: Names are NUL-terminated at all times, and part of the device.
        unsafe { CStr::from_char_ptr(name) }
    }

    /// The namespace it is in.
    pub fn net(&self) -> &Net {
        // SAFETY: `self` is valid.
        let net = unsafe { helpers::dev_net(self.as_ptr()) };
        // SAFETY: A device is in a namespace, which lives longer.
        unsafe { Net::from_raw(net) }
    }
}

impl PartialEq for NetDevice {
    /// Whether both are the same device.
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self, other)
    }
}

/// What happened to a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event(c_ulong);

impl Event {
    /// It is up.
    pub const UP: Self = Self(raw::netdev_cmd_NETDEV_UP as c_ulong);
    /// It is down.
    pub const DOWN: Self = Self(raw::netdev_cmd_NETDEV_DOWN as c_ulong);
    /// It goes, or leaves the namespace.
    pub const UNREGISTER: Self = Self(raw::netdev_cmd_NETDEV_UNREGISTER as c_ulong);
}

/// Who wants to know.
pub trait Listener: 'static {
    /// Those with higher numbers are called earlier.
    const PRIORITY: i32 = 0;

    /// Called under the RTNL lock, may sleep. Devices that exist are told as new when the
    /// [`Notifier`] is made, and as gone when it is dropped.
    fn event(event: Event, net: &Net, dev: &NetDevice);
}

/// Calls `L` until dropped. Dropping sleeps, and takes the RTNL lock.
///
/// # Invariants
///
/// `block` is registered.
#[pin_data(PinnedDrop)]
pub struct Notifier<L: Listener> {
    #[pin]
    block: Opaque<raw::notifier_block>,
    _p: PhantomData<fn() -> L>,
}

// SAFETY: The block belongs to the kernel; it can be unregistered from everywhere.
unsafe impl<L: Listener> Send for Notifier<L> {}
// SAFETY: No methods.
unsafe impl<L: Listener> Sync for Notifier<L> {}

impl<L: Listener> Notifier<L> {
    /// Starts to listen, in all namespaces.
    pub fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            block <- Opaque::try_ffi_init(|slot: *mut raw::notifier_block| {
                let block = raw::notifier_block {
                    notifier_call: Some(notify::<L>),
                    next: ptr::null_mut(),
                    priority: L::PRIORITY,
                };
                // SAFETY: `slot` is memory for a block.
                unsafe { slot.write(block) };
                // INVARIANT: Registered when this succeeds.
                // SAFETY: The block stays in place until dropped, and that unregisters it.
                to_result(unsafe { raw::register_netdevice_notifier(slot) })
            }),
            _p: PhantomData,
        })
    }
}

#[pinned_drop]
impl<L: Listener> PinnedDrop for Notifier<L> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered, by the type's invariant.
        unsafe { raw::unregister_netdevice_notifier(self.block.get()) };
    }
}

/// # Safety
///
/// Called by the kernel for a netdevice notifier.
unsafe extern "C" fn notify<L: Listener>(
    _block: *mut raw::notifier_block,
    event: c_ulong,
    info: *mut c_void,
) -> c_int {
    // SAFETY: `info` is that of a netdevice notifier.
    let dev = unsafe { helpers::notifier_dev(info) };
    // SAFETY: Valid during the call.
    let dev = unsafe { NetDevice::from_raw(dev) };
    L::event(Event(event), dev.net(), dev);
    raw::NOTIFY_DONE as c_int
}
