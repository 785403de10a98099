// SPDX-License-Identifier: GPL-2.0
//! Socket options of a module: `setsockopt()` and `getsockopt()` on any IPv4 socket, by number.
//!
//! C header: [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h)

use crate::{net::Net, raw, raw::helpers};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};
use kernel::{
    error::{from_result, to_result},
    prelude::*,
    uaccess::{UserPtr, UserSlice},
};

/// What a module does with its options. Calls can run at the same time, and may sleep. Who may do
/// what is for the implementation to ask.
pub trait Handler: 'static {
    /// First and last number that can be set.
    const SET: (i32, i32);
    /// First and last number that can be got.
    const GET: (i32, i32);

    /// Sets `option` for the namespace of the socket.
    fn set(net: &Net, option: i32, arg: &SetArg<'_>) -> Result;

    /// Gets `option` for the namespace of the socket.
    fn get(net: &Net, option: i32, arg: &mut GetArg<'_>) -> Result;
}

/// What `setsockopt()` was given.
///
/// # Invariants
///
/// From `ptr` on there are `len` bytes of the kernel's, or whatever user space says is there.
pub struct SetArg<'a> {
    ptr: raw::sockptr_t,
    len: usize,
    _p: PhantomData<&'a ()>,
}

impl SetArg<'_> {
    /// How many bytes there are.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The first `N` bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are not that many; `EFAULT`.
    pub fn read<const N: usize>(&self) -> Result<[u8; N]> {
        if N > self.len {
            return Err(EINVAL);
        }
        let mut bytes = [0u8; N];
        let to = bytes.as_mut_ptr().cast();
        // SAFETY: There is room for `N` bytes, and as many to read by the type's invariant.
        to_result(unsafe { helpers::copy_from_sockptr(to, self.ptr, N) })?;
        Ok(bytes)
    }
}

/// What `getsockopt()` was given, and what it gives back.
pub struct GetArg<'a> {
    ptr: UserPtr,
    len: &'a mut c_int,
}

impl GetArg<'_> {
    /// How much room there is, as the caller says.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> i32 {
        *self.len
    }

    /// Tells the caller how long the answer is.
    pub fn set_len(&mut self, len: i32) {
        *self.len = len;
    }

    /// Reads what the caller left in the room for the answer.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub fn read(&self, to: &mut [u8]) -> Result {
        UserSlice::new(self.ptr, to.len()).reader().read_slice(to)
    }

    /// Writes a part of the answer. That it stays within [`GetArg::len`] is up to who calls.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub fn write(&mut self, at: usize, bytes: &[u8]) -> Result {
        let to = self.ptr.wrapping_byte_add(at);
        UserSlice::new(to, bytes.len()).writer().write_slice(bytes)
    }
}

/// The options of a module, to be put in a static.
///
/// # Invariants
///
/// Only who turned `taken` from false to true changes `ops`, until they are registered.
pub struct Options {
    taken: AtomicBool,
    ops: UnsafeCell<raw::nf_sockopt_ops>,
}

// SAFETY: Accesses are ordered by `taken`, and by the kernel while they are registered.
unsafe impl Sync for Options {}

impl Options {
    /// Those of `H`, not registered.
    pub const fn new<H: Handler>() -> Self {
        let list = raw::list_head {
            next: ptr::null_mut(),
            prev: ptr::null_mut(),
        };
        // The kernel's upper ends are not part of the ranges.
        let ops = raw::nf_sockopt_ops {
            list,
            pf: raw::NFPROTO_IPV4 as u8,
            set_optmin: H::SET.0,
            set_optmax: H::SET.1 + 1,
            set: Some(set::<H>),
            get_optmin: H::GET.0,
            get_optmax: H::GET.1 + 1,
            get: Some(get::<H>),
            owner: ptr::null_mut(),
        };
        Self {
            taken: AtomicBool::new(false),
            ops: UnsafeCell::new(ops),
        }
    }

    /// Makes them available. `module` is that of the code; it cannot be unloaded during a call.
    ///
    /// To be the last that a module does when it is loaded: nobody waits for calls if loading fails
    /// after this.
    ///
    /// # Errors
    ///
    /// `EBUSY` if they are registered, or another module has some of the numbers.
    pub fn register(&'static self, module: &'static ThisModule) -> Result<Registration> {
        if self.taken.swap(true, Ordering::Acquire) {
            return Err(EBUSY);
        }
        let ops = self.ops.get();
        // SAFETY: Not registered, and nobody else changes it, by the type's invariant.
        unsafe { (*ops).owner = module.as_ptr() };
        // SAFETY: Static, with valid callbacks.
        to_result(unsafe { raw::nf_register_sockopt(ops) })
            .inspect_err(|_| self.taken.store(false, Ordering::Release))?;
        // INVARIANT: Just registered.
        Ok(Registration(self))
    }
}

/// Registered options, until dropped. Dropping sleeps.
///
/// # Invariants
///
/// The options are registered.
pub struct Registration(&'static Options);

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: Registered, by the type's invariant.
        unsafe { raw::nf_unregister_sockopt(self.0.ops.get()) };
        self.0.taken.store(false, Ordering::Release);
    }
}

/// The namespace of a socket.
///
/// # Safety
///
/// `sk` is valid for `'a`.
unsafe fn net_of<'a>(sk: *mut raw::sock) -> &'a Net {
    // SAFETY: By the requirement.
    let net = unsafe { helpers::sock_net(sk) };
    // SAFETY: A socket with users keeps its namespace.
    unsafe { Net::from_raw(net) }
}

/// # Safety
///
/// Called by netfilter for `setsockopt()`.
unsafe extern "C" fn set<H: Handler>(
    sk: *mut raw::sock,
    option: c_int,
    ptr: raw::sockptr_t,
    len: c_uint,
) -> c_int {
    // SAFETY: Valid during the call.
    let net = unsafe { net_of(sk) };
    // INVARIANT: As the kernel gave it.
    let arg = SetArg {
        ptr,
        len: len as usize,
        _p: PhantomData,
    };
    from_result(|| H::set(net, option, &arg).map(|()| 0))
}

/// # Safety
///
/// Called by netfilter for `getsockopt()`.
unsafe extern "C" fn get<H: Handler>(
    sk: *mut raw::sock,
    option: c_int,
    user: *mut c_void,
    len: *mut c_int,
) -> c_int {
    // SAFETY: Valid during the call.
    let net = unsafe { net_of(sk) };
    let mut arg = GetArg {
        ptr: UserPtr::from_ptr(user),
        // SAFETY: A variable of who calls, valid during the call.
        len: unsafe { &mut *len },
    };
    from_result(|| H::get(net, option, &mut arg).map(|()| 0))
}
