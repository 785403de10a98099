// SPDX-License-Identifier: GPL-2.0
//! Netlink attributes: policies, reading, writing.
//!
//! C header: [`include/net/netlink.h`](srctree/include/net/netlink.h)

use crate::{raw, raw::helpers};
use core::{
    marker::PhantomData,
    ptr::{self, NonNull},
};
use kernel::{error::to_result, prelude::*};

/// What an attribute must be to be accepted.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Policy(raw::nla_policy);

// SAFETY: Immutable.
unsafe impl Sync for Policy {}

impl Policy {
    const fn new(kind: u32, len: u16) -> Self {
        Self(raw::nla_policy {
            type_: kind as u8,
            len,
            ..pin_init::zeroed()
        })
    }

    /// Anything.
    pub const ANY: Self = Self::new(raw::NLA_UNSPEC, 0);
    /// At least 1 byte.
    pub const U8: Self = Self::new(raw::NLA_U8, 0);
    /// At least 2 bytes.
    pub const U16: Self = Self::new(raw::NLA_U16, 0);
    /// At least 4 bytes.
    pub const U32: Self = Self::new(raw::NLA_U32, 0);
    /// Empty, or attributes.
    pub const NESTED: Self = Self::new(raw::NLA_NESTED, 0);

    /// At least `len` bytes.
    pub const fn at_least(len: u16) -> Self {
        Self::new(raw::NLA_UNSPEC, len)
    }

    /// At most `max` bytes.
    pub const fn binary(max: u16) -> Self {
        Self::new(raw::NLA_BINARY, max)
    }

    /// At most `max` bytes and then a NUL.
    pub const fn nul_string(max: u16) -> Self {
        Self::new(raw::NLA_NUL_STRING, max)
    }
}

/// Policies of attributes 0 to `N - 1`, of which 0 is never used. What is not set is [`Policy::ANY`].
#[repr(transparent)]
pub struct Table<const N: usize>([Policy; N]);

impl<const N: usize> Table<N> {
    /// All [`Policy::ANY`].
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        assert!(N > 0 && N < 1 << 16);
        Self([Policy::ANY; N])
    }

    /// The same with another policy for attribute `n`. For constants.
    pub const fn with(mut self, n: usize, policy: Policy) -> Self {
        // Entry 0 is not a policy.
        assert!(n > 0);
        self.0[n] = policy;
        self
    }

    /// The highest attribute.
    pub(crate) const fn maxattr(&self) -> u32 {
        (N - 1) as u32
    }

    pub(crate) const fn as_ptr(&self) -> *const raw::nla_policy {
        self.0.as_ptr().cast()
    }
}

/// The payload of an attribute.
#[derive(Clone, Copy)]
pub struct Attr<'a>(&'a [u8]);

impl<'a> Attr<'a> {
    /// # Safety
    ///
    /// `p` is null, or an attribute whose `nla_len` bytes are valid for `'a`.
    pub(crate) unsafe fn from_raw(p: *const raw::nlattr) -> Option<Self> {
        let p = NonNull::new(p.cast_mut())?;
        // SAFETY: By the requirement.
        let len = usize::from(unsafe { (*p.as_ptr()).nla_len });
        let head = size_of::<raw::nlattr>();
        let data = p.as_ptr().cast::<u8>().wrapping_add(head).cast_const();
        // SAFETY: By the requirement; nothing is read if the length is less than the header's.
        Some(Self(unsafe {
            core::slice::from_raw_parts(data, len.saturating_sub(head))
        }))
    }

    /// All of it.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Up to its first NUL, or all.
    pub fn str(self) -> &'a [u8] {
        self.0.split(|c| *c == 0).next().unwrap_or(&[])
    }

    /// Its first `N` bytes; what it is short of is zero.
    pub fn copy<const N: usize>(self) -> [u8; N] {
        let mut out = [0; N];
        out.iter_mut()
            .zip(self.0)
            .for_each(|(to, from)| *to = *from);
        out
    }

    /// As a number. One that is too short, which its policy can rule out, has zeroes added.
    pub fn u8(self) -> u8 {
        u8::from_ne_bytes(self.copy())
    }

    /// As a number in the host's byte order, see [`Self::u8`].
    pub fn u16(self) -> u16 {
        u16::from_ne_bytes(self.copy())
    }

    /// As a number in the host's byte order, see [`Self::u8`].
    pub fn u32(self) -> u32 {
        u32::from_ne_bytes(self.copy())
    }

    /// As a number in network byte order, see [`Self::u8`].
    pub fn be16(self) -> u16 {
        u16::from_be_bytes(self.copy())
    }

    /// As a number in network byte order, see [`Self::u8`].
    pub fn be32(self) -> u32 {
        u32::from_be_bytes(self.copy())
    }

    /// The attributes nested in it.
    ///
    /// # Errors
    ///
    /// `EINVAL` or `ERANGE` if one does not meet its policy.
    pub fn parse<const N: usize>(self, table: &'static Table<N>) -> Result<Attrs<'a, N>> {
        // SAFETY: Null is allowed.
        unsafe { self.parse_with(table, ptr::null_mut()) }
    }

    /// # Safety
    ///
    /// `extack` is null or valid for the call.
    pub(crate) unsafe fn parse_with<const N: usize>(
        self,
        table: &'static Table<N>,
        extack: *mut raw::netlink_ext_ack,
    ) -> Result<Attrs<'a, N>> {
        let mut attrs = [ptr::null_mut(); N];
        // SAFETY: There is room for `maxattr + 1`, which is `N`; the payload is valid for its length.
        to_result(unsafe {
            raw::__nla_parse(
                attrs.as_mut_ptr(),
                table.maxattr() as c_int,
                self.0.as_ptr().cast(),
                self.0.len() as c_int,
                table.as_ptr(),
                raw::netlink_validation_NL_VALIDATE_LIBERAL,
                extack,
            )
        })?;
        // SAFETY: They were just found in the payload.
        Ok(unsafe { Attrs::from_raw(attrs) })
    }
}

/// Attributes 0 to `N - 1` of a message or of an attribute. The last of a kind counts.
///
/// # Invariants
///
/// Each is null or an attribute that is valid for `'a`.
pub struct Attrs<'a, const N: usize>([*mut raw::nlattr; N], PhantomData<&'a raw::nlattr>);

impl<'a, const N: usize> Attrs<'a, N> {
    /// # Safety
    ///
    /// Each is null or an attribute that is valid for `'a`.
    pub(crate) unsafe fn from_raw(attrs: [*mut raw::nlattr; N]) -> Self {
        // INVARIANT: By the requirement.
        Self(attrs, PhantomData)
    }

    /// Attribute `n`.
    pub fn get(&self, n: usize) -> Option<Attr<'a>> {
        let p = *self.0.get(n)?;
        // SAFETY: By the type's invariant.
        unsafe { Attr::from_raw(p) }
    }
}

/// A message that is being written. Each `put` fails with `EMSGSIZE` if there is no room for it.
///
/// # Invariants
///
/// A netlink message buffer nobody else uses for `'a`.
pub struct Msg<'a> {
    skb: NonNull<raw::sk_buff>,
    _p: PhantomData<&'a mut raw::sk_buff>,
}

impl Msg<'_> {
    /// # Safety
    ///
    /// `skb` is a netlink message buffer nobody else uses while the result lives.
    pub(crate) unsafe fn new(skb: NonNull<raw::sk_buff>) -> Self {
        // INVARIANT: By the requirement.
        Self {
            skb,
            _p: PhantomData,
        }
    }

    /// A length that fits an attribute's 16 bits together with its header.
    fn len(len: usize) -> Result<c_int> {
        match u16::try_from(len.saturating_add(size_of::<raw::nlattr>())) {
            Ok(_) => Ok(len as c_int),
            Err(_) => Err(EMSGSIZE),
        }
    }

    /// Adds an attribute.
    pub fn put(&mut self, n: u16, data: &[u8]) -> Result {
        let len = Self::len(data.len())?;
        // SAFETY: The buffer is ours, and the data as long as we say.
        to_result(unsafe { raw::nla_put(self.skb.as_ptr(), n.into(), len, data.as_ptr().cast()) })
    }

    /// Adds a number.
    pub fn u8(&mut self, n: u16, value: u8) -> Result {
        self.put(n, &value.to_ne_bytes())
    }

    /// Adds a number in the host's byte order.
    pub fn u16(&mut self, n: u16, value: u16) -> Result {
        self.put(n, &value.to_ne_bytes())
    }

    /// Adds a number in the host's byte order.
    pub fn u32(&mut self, n: u16, value: u32) -> Result {
        self.put(n, &value.to_ne_bytes())
    }

    /// Adds a number in network byte order.
    pub fn be16(&mut self, n: u16, value: u16) -> Result {
        self.put(n, &value.to_be_bytes())
    }

    /// Adds a number in network byte order.
    pub fn be32(&mut self, n: u16, value: u32) -> Result {
        self.put(n, &value.to_be_bytes())
    }

    /// Adds a number in the host's byte order, aligned to 8 bytes by an empty attribute `pad` where
    /// the architecture wants that.
    pub fn u64(&mut self, n: u16, value: u64, pad: u16) -> Result {
        let data = (&raw const value).cast();
        // SAFETY: The buffer is ours, and the data as long as we say.
        to_result(unsafe {
            raw::nla_put_64bit(
                self.skb.as_ptr(),
                n.into(),
                size_of::<u64>() as c_int,
                data,
                pad.into(),
            )
        })
    }

    /// Adds `text`, up to its first NUL if it has one, and a NUL.
    pub fn str(&mut self, n: u16, text: &[u8]) -> Result {
        let text = Attr(text).str();
        let len = Self::len(text.len().saturating_add(1))?;
        // SAFETY: The buffer is ours.
        let attr = unsafe { raw::nla_reserve(self.skb.as_ptr(), n.into(), len) };
        if attr.is_null() {
            return Err(EMSGSIZE);
        }
        let to = attr.cast::<u8>().wrapping_add(size_of::<raw::nlattr>());
        // SAFETY: `len` bytes, one more than the text, are reserved there.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), to, text.len()) };
        // SAFETY: As above.
        unsafe { to.wrapping_add(text.len()).write(0) };
        Ok(())
    }

    /// Adds an attribute that holds those added by `fill`: all of it, or nothing when that fails.
    pub fn nest(&mut self, n: u16, fill: impl FnOnce(&mut Msg<'_>) -> Result) -> Result {
        let skb = self.skb.as_ptr();
        // SAFETY: The buffer is ours.
        let start = unsafe { helpers::nla_nest_start(skb, n.into()) };
        if start.is_null() {
            return Err(EMSGSIZE);
        }
        let done = fill(self);
        match done {
            // SAFETY: Started above.
            Ok(()) => unsafe { helpers::nla_nest_end(skb, start) },
            // SAFETY: As above.
            Err(_) => unsafe { helpers::nla_nest_cancel(skb, start) },
        }
        done
    }
}
