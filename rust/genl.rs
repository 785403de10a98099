// SPDX-License-Identifier: GPL-2.0
//! Generic netlink families: commands, dumps, messages.
//!
//! Attributes are parsed the way of old families: unknown and overlong ones are accepted. See
//! [`crate::nla`] for them.
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)

use crate::{
    net::Net,
    nla::{Attr, Attrs, Msg, Policy, Table},
    raw,
    raw::helpers,
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicBool, Ordering},
};
use kernel::{error::from_result, error::to_result, prelude::*};

/// A command that is done at once.
pub trait Do: 'static {
    /// Does it. Several can run at a time. `Ok` without a reply sends an acknowledgement if the
    /// sender wants one.
    fn run(request: &Request<'_>) -> Result;
}

/// A command that is answered by any number of messages.
pub trait Dump: 'static {
    /// Adds messages until there are no more or one does not fit (`EMSGSIZE`); called again until
    /// it adds none. What it did is to be kept in [`Dumper::args`].
    fn run(dump: &mut Dumper<'_>) -> Result;
}

/// What a family does for one command. Privileged users only: `CAP_NET_ADMIN` in the initial user
/// namespace.
#[repr(transparent)]
pub struct Op(raw::genl_small_ops);

// SAFETY: Immutable.
unsafe impl Sync for Op {}

impl Op {
    const fn entry(cmd: u8) -> raw::genl_small_ops {
        raw::genl_small_ops {
            cmd,
            flags: raw::GENL_ADMIN_PERM as u8,
            validate: (raw::genl_validate_flags_GENL_DONT_VALIDATE_STRICT
                | raw::genl_validate_flags_GENL_DONT_VALIDATE_DUMP) as u8,
            ..pin_init::zeroed()
        }
    }

    /// `cmd` is done by `D`.
    pub const fn run<D: Do>(cmd: u8) -> Self {
        Self(raw::genl_small_ops {
            doit: Some(doit::<D>),
            ..Self::entry(cmd)
        })
    }

    /// `cmd` as a dump request is answered by `D`.
    pub const fn dump<D: Dump>(cmd: u8) -> Self {
        Self(raw::genl_small_ops {
            dumpit: Some(dumpit::<D>),
            ..Self::entry(cmd)
        })
    }

    /// Both.
    pub const fn run_or_dump<A: Do, B: Dump>(cmd: u8) -> Self {
        Self(raw::genl_small_ops {
            doit: Some(doit::<A>),
            dumpit: Some(dumpit::<B>),
            ..Self::entry(cmd)
        })
    }
}

/// A family, to be put in a static.
///
/// # Invariants
///
/// Only who turned `taken` from false to true changes `family`, until it is registered.
pub struct Family {
    taken: AtomicBool,
    family: UnsafeCell<raw::genl_family>,
}

// SAFETY: Accesses are ordered by `taken`, and by the kernel while it is registered.
unsafe impl Sync for Family {}

impl Family {
    /// A family that is not registered, for all namespaces, whose commands run in parallel.
    ///
    /// `policy` is for the attributes of its commands. Commands from `resv_start_op` on are
    /// validated strictly. For constants: bad arguments do not compile.
    pub const fn new<const N: usize>(
        name: &'static CStr,
        version: u32,
        policy: &'static Table<N>,
        ops: &'static [Op],
        resv_start_op: u8,
    ) -> Self {
        let mut family = raw::genl_family {
            version,
            maxattr: policy.maxattr(),
            policy: policy.as_ptr(),
            small_ops: ops.as_ptr().cast(),
            n_small_ops: ops.len() as u8,
            resv_start_op,
            ..pin_init::zeroed()
        };
        assert!(ops.len() == family.n_small_ops as usize);
        let name = name.to_bytes_with_nul();
        let mut i = 0;
        while i < name.len() {
            family.name[i] = name[i];
            i += 1;
        }
        Self {
            taken: AtomicBool::new(false),
            family: UnsafeCell::new(family),
        }
    }

    /// Makes the family available. `module` is that of the code of its commands.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it is registered, `EEXIST` if another has its name.
    pub fn register(&'static self, module: &'static ThisModule) -> Result<Registration> {
        if self.taken.swap(true, Ordering::Acquire) {
            return Err(EBUSY);
        }
        // SAFETY: Not registered, and nobody else changes it, by the type's invariant.
        let family = unsafe { &mut *self.family.get() };
        family.module = module.as_ptr();
        family.set_netnsok(1);
        family.set_parallel_ops(1);
        // SAFETY: Static, with valid tables.
        to_result(unsafe { raw::genl_register_family(self.family.get()) })
            .inspect_err(|_| self.taken.store(false, Ordering::Release))?;
        // INVARIANT: Just registered.
        Ok(Registration(self))
    }
}

/// A registered family, until dropped. Dropping waits for commands that run.
///
/// # Invariants
///
/// The family is registered.
pub struct Registration(&'static Family);

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: Registered, by the type's invariant.
        unsafe { raw::genl_unregister_family(self.0.family.get()) };
        self.0.taken.store(false, Ordering::Release);
    }
}

/// A command as it came.
///
/// # Invariants
///
/// `info` is what the kernel gave to a `doit` that runs for as long as `'a`.
pub struct Request<'a> {
    info: NonNull<raw::genl_info>,
    _p: PhantomData<&'a raw::genl_info>,
}

impl<'a> Request<'a> {
    fn info(&self) -> &raw::genl_info {
        // SAFETY: Valid, by the type's invariant.
        unsafe { self.info.as_ref() }
    }

    /// Which one.
    pub fn cmd(&self) -> u8 {
        // SAFETY: The header of the message, which is valid for `'a`.
        unsafe { (*self.info().genlhdr).cmd }
    }

    /// The namespace of the sender.
    pub fn net(&self) -> &Net {
        // SAFETY: The sender's socket keeps it.
        unsafe { Net::from_raw(self.info()._net.net) }
    }

    /// Attribute `n`, checked against the family's policy.
    pub fn attr(&self, n: usize) -> Option<Attr<'a>> {
        let info = self.info();
        // SAFETY: The family is registered.
        let maxattr = unsafe { (*info.family).maxattr };
        if info.attrs.is_null() || n > maxattr as usize {
            return None;
        }
        // SAFETY: There are `maxattr + 1`.
        let attr = unsafe { *info.attrs.wrapping_add(n) };
        // SAFETY: Null, or an attribute inside the message, which is valid for `'a`.
        unsafe { Attr::from_raw(attr) }
    }

    /// The attributes nested in `attr`; what is wrong with them is told to the sender.
    pub fn parse<const N: usize>(
        &self,
        attr: Attr<'a>,
        table: &'static Table<N>,
    ) -> Result<Attrs<'a, N>> {
        // SAFETY: Valid for the call, or null.
        unsafe { attr.parse_with(table, self.info().extack) }
    }

    /// Sends a message made by `fill` back. May sleep before and after `fill`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, those of `fill` (nothing is sent then), and of sending.
    pub fn reply(&self, cmd: u8, fill: impl FnOnce(&mut Msg<'_>) -> Result) -> Result {
        // SAFETY: No requirements.
        let skb = unsafe { helpers::nlmsg_new_default() };
        let skb = NonNull::new(skb).ok_or(ENOMEM)?;
        let info = self.info();
        // SAFETY: A new buffer, and the family that is registered.
        let done = unsafe {
            message(
                skb,
                info.snd_portid,
                info.snd_seq,
                info.family,
                0,
                cmd,
                fill,
            )
        };
        if let Err(e) = done {
            // SAFETY: Ours.
            unsafe { raw::nlmsg_free(skb.as_ptr()) };
            return Err(e);
        }
        // SAFETY: It takes the buffer over.
        to_result(unsafe { helpers::genlmsg_reply(skb.as_ptr(), self.info.as_ptr()) })
    }
}

/// Adds a message to a buffer: all of it, or nothing when `fill` fails.
///
/// # Safety
///
/// `skb` is a netlink message buffer nobody else uses, `family` is registered.
unsafe fn message(
    skb: NonNull<raw::sk_buff>,
    portid: u32,
    seq: u32,
    family: *const raw::genl_family,
    flags: u32,
    cmd: u8,
    fill: impl FnOnce(&mut Msg<'_>) -> Result,
) -> Result {
    let skb_ptr = skb.as_ptr();
    // SAFETY: By the requirement.
    let hdr = unsafe { raw::genlmsg_put(skb_ptr, portid, seq, family, flags as c_int, cmd) };
    if hdr.is_null() {
        return Err(EMSGSIZE);
    }
    let mut room = 0;
    // SAFETY: By the requirement.
    let tail = unsafe { helpers::skb_room(skb_ptr, &mut room) };
    // SAFETY: So many bytes from there on belong to the buffer, and are not used yet.
    let mut msg = Msg::new(unsafe { slice::from_raw_parts_mut(tail.cast(), room) });
    let done = fill(&mut msg);
    let used = msg.used();
    match done {
        Ok(()) => {
            // SAFETY: There is room for it: that is where it was written.
            unsafe { raw::skb_put(skb_ptr, used as c_uint) };
            // SAFETY: `hdr` was just put into it.
            unsafe { raw::genlmsg_end(skb_ptr, hdr) }
        }
        // SAFETY: As above.
        Err(_) => unsafe { raw::genlmsg_cancel(skb_ptr, hdr) },
    }
    done
}

/// A part of the answer to a dump request, as much as fits in one buffer.
///
/// # Invariants
///
/// Both are what the kernel gave to a `dumpit` that runs for as long as `'a`.
pub struct Dumper<'a> {
    skb: NonNull<raw::sk_buff>,
    cb: NonNull<raw::netlink_callback>,
    _p: PhantomData<&'a mut raw::netlink_callback>,
}

impl<'a> Dumper<'a> {
    fn info(&self) -> &raw::genl_info {
        // SAFETY: Valid, by the type's invariant.
        let data = unsafe { self.cb.as_ref() }.data;
        // SAFETY: Generic netlink keeps this there while a dump runs.
        unsafe { &(*data.cast::<raw::genl_dumpit_info>()).info }
    }

    /// The namespace of the sender.
    pub fn net(&self) -> &Net {
        // SAFETY: The sender's socket keeps it.
        unsafe { Net::from_raw(self.info()._net.net) }
    }

    /// Where the dump is; zeroes when it starts.
    pub fn args(&mut self) -> &mut [c_long; 6] {
        // SAFETY: Valid, by the type's invariant, and ours while the dump runs.
        let cb = unsafe { self.cb.as_mut() };
        // SAFETY: Generic netlink leaves this part of the union to families; all values are valid.
        unsafe { &mut cb.__bindgen_anon_1.args }
    }

    /// The attributes of the request.
    pub fn parse<const N: usize>(&self, table: &'static Table<N>) -> Result<Attrs<'a, N>> {
        let mut attrs = [ptr::null_mut(); N];
        // SAFETY: Valid, by the type's invariant.
        let cb = unsafe { self.cb.as_ref() };
        // SAFETY: There is room for `maxattr + 1`, which is `N`; the message is valid for `'a`.
        to_result(unsafe {
            helpers::genlmsg_parse_liberal(
                cb.nlh,
                attrs.as_mut_ptr(),
                table.maxattr() as c_int,
                table.as_ptr(),
                cb.extack,
            )
        })?;
        // SAFETY: They were just found in the message.
        Ok(unsafe { Attrs::from_raw(attrs) })
    }

    /// Adds a message.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` if there is no room for it, and those of `fill`: it is left out then.
    pub fn message(&mut self, cmd: u8, fill: impl FnOnce(&mut Msg<'_>) -> Result) -> Result {
        let info = self.info();
        let (portid, seq, family) = (info.snd_portid, info.snd_seq, info.family);
        // SAFETY: The buffer is ours while the dump runs, and the family is registered.
        unsafe { message(self.skb, portid, seq, family, raw::NLM_F_MULTI, cmd, fill) }
    }
}

/// # Safety
///
/// Called by generic netlink.
unsafe extern "C" fn doit<D: Do>(_skb: *mut raw::sk_buff, info: *mut raw::genl_info) -> c_int {
    let Some(info) = NonNull::new(info) else {
        return EINVAL.to_errno();
    };
    // INVARIANT: As the kernel gave it.
    let request = Request {
        info,
        _p: PhantomData,
    };
    from_result(|| D::run(&request).map(|()| 0))
}

/// # Safety
///
/// Called by generic netlink.
unsafe extern "C" fn dumpit<D: Dump>(
    skb: *mut raw::sk_buff,
    cb: *mut raw::netlink_callback,
) -> c_int {
    let (Some(skb), Some(cb)) = (NonNull::new(skb), NonNull::new(cb)) else {
        return EINVAL.to_errno();
    };
    // INVARIANT: As the kernel gave them.
    let mut dump = Dumper {
        skb,
        cb,
        _p: PhantomData,
    };
    match D::run(&mut dump) {
        Err(e) if e != EMSGSIZE => e.to_errno(),
        // SAFETY: Valid during the call. What is in it is how netlink knows that there is more.
        _ => unsafe { skb.as_ref() }.len as c_int,
    }
}

// Entries of the kernel's tables.
const _: () = assert!(size_of::<Op>() == size_of::<raw::genl_small_ops>());
const _: () = assert!(size_of::<Policy>() == size_of::<raw::nla_policy>());
