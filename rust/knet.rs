// SPDX-License-Identifier: GPL-2.0
//! Safe wrappers of what a network module needs from the kernel and the `kernel` crate lacks.
//!
//! The only crate of the project with `unsafe`. It knows nothing of IPVS.

#[allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    improper_ctypes,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::undocumented_unsafe_blocks
)]
pub(crate) mod raw {
    pub(crate) use kernel::bindings::*;
    use kernel::ffi;
    include!(concat!(env!("IPVS_OBJ"), "/rust/bindings_generated.rs"));
    // Types that only pointers in the bindings name.
    pub(crate) type uncached_list = ffi::c_void;
    pub(crate) type lwtunnel_state = ffi::c_void;
    pub(crate) mod helpers {
        use super::*;
        include!(concat!(env!("IPVS_OBJ"), "/rust/helpers_generated.rs"));
    }
}

/// Log prefix of this crate.
const __LOG_PREFIX: &[u8] = b"IPVS\0";

pub mod conntrack;
pub mod cpulist;
pub mod debug;
pub mod front_vec;
pub mod genl;
pub mod hook;
pub mod kthread;
pub mod lock;
pub mod module;
pub mod net;
pub mod nla;
pub mod notifier;
pub mod params;
pub mod percpu;
pub mod pernet;
pub mod random;
pub mod rcu;
pub mod route;
pub mod route6;
pub mod seq;
pub mod skb;
pub mod sockopt;
pub mod sysctl;
pub mod table;
pub mod timed;
pub mod tunnel;
pub mod work;

/// How an allocation may get its memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Gfp {
    /// May sleep.
    Kernel,
    /// Any context; fails easily.
    Atomic,
}

impl Gfp {
    #[inline]
    pub(crate) fn raw(self) -> raw::gfp_t {
        match self {
            Gfp::Kernel => raw::GFP_KERNEL,
            Gfp::Atomic => raw::GFP_ATOMIC,
        }
    }
}

/// Whether a message that packets cause may be logged now: not too many a second.
pub fn ratelimit() -> bool {
    // SAFETY: No requirements.
    unsafe { raw::helpers::net_ratelimit() != 0 }
}
