// SPDX-License-Identifier: GPL-2.0
//! Netlink attributes: policies, reading, writing.
//!
//! C header: [`include/net/netlink.h`](srctree/include/net/netlink.h)

use crate::raw;
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
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
    #[inline]
    pub fn copy<const N: usize>(self) -> [u8; N] {
        if let Some(all) = self.0.first_chunk() {
            return *all;
        }
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
/// Attributes are written into the free part of the buffer from here, not by the kernel one by one:
/// dumps are little else.
pub struct Msg<'a> {
    /// What is free of the message's buffer.
    room: &'a mut [MaybeUninit<u8>],
    used: usize,
}

/// Bytes that come before an attribute's payload.
const HEAD: usize = size_of::<raw::nlattr>();

impl<'a> Msg<'a> {
    pub(crate) fn new(room: &'a mut [MaybeUninit<u8>]) -> Self {
        Self { room, used: 0 }
    }

    /// Bytes of the room that were written, from its start without a gap.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Adds an attribute whose payload is `data` and then `zeroes` bytes.
    #[inline]
    fn add(&mut self, n: u16, data: &[u8], zeroes: usize) -> Result {
        let len = HEAD.saturating_add(data.len()).saturating_add(zeroes);
        let head = header(n, u16::try_from(len).map_err(|_| EMSGSIZE)?);
        // What is not a multiple of 4 bytes is filled up.
        let end = len.next_multiple_of(4);
        let room = self.room.get_mut(self.used..).ok_or(EMSGSIZE)?;
        let room = room.get_mut(..end).ok_or(EMSGSIZE)?;
        let (to, rest) = room.split_at_mut(HEAD);
        write(to, &head);
        let (to, rest) = rest.split_at_mut(data.len());
        write(to, data);
        rest.iter_mut().for_each(|b| {
            b.write(0);
        });
        self.used = self.used.wrapping_add(end);
        Ok(())
    }

    /// Adds an attribute.
    pub fn put(&mut self, n: u16, data: &[u8]) -> Result {
        self.add(n, data, 0)
    }

    /// Adds a number.
    #[inline]
    pub fn u8(&mut self, n: u16, value: u8) -> Result {
        self.add(n, &value.to_ne_bytes(), 0)
    }

    /// Adds a number in the host's byte order.
    #[inline]
    pub fn u16(&mut self, n: u16, value: u16) -> Result {
        self.add(n, &value.to_ne_bytes(), 0)
    }

    /// Adds a number in the host's byte order.
    #[inline]
    pub fn u32(&mut self, n: u16, value: u32) -> Result {
        self.add(n, &value.to_ne_bytes(), 0)
    }

    /// Adds a number in network byte order.
    #[inline]
    pub fn be16(&mut self, n: u16, value: u16) -> Result {
        self.add(n, &value.to_be_bytes(), 0)
    }

    /// Adds a number in network byte order.
    #[inline]
    pub fn be32(&mut self, n: u16, value: u32) -> Result {
        self.add(n, &value.to_be_bytes(), 0)
    }

    /// Adds a number in the host's byte order, aligned to 8 bytes by an empty attribute `pad` where
    /// the architecture wants that.
    #[inline]
    pub fn u64(&mut self, n: u16, value: u64, pad: u16) -> Result {
        let before = self.used;
        if !cfg!(CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS) {
            let at = self.room.as_ptr().addr().wrapping_add(self.used);
            if at % size_of::<u64>() == 0 {
                self.add(pad, &[], 0)?;
            }
        }
        self.add(n, &value.to_ne_bytes(), 0)
            .inspect_err(|_| self.used = before)
    }

    /// Adds `text`, up to its first NUL if it has one, and a NUL.
    pub fn str(&mut self, n: u16, text: &[u8]) -> Result {
        self.add(n, Attr(text).str(), 1)
    }

    /// Adds an attribute that holds those added by `fill`: all of it, or nothing when that fails.
    #[inline]
    pub fn nest(&mut self, n: u16, fill: impl FnOnce(&mut Self) -> Result) -> Result {
        let start = self.used;
        self.add(n, &[], 0)?;
        let done = fill(self).and_then(|()| {
            let len = self.used.wrapping_sub(start);
            let head = header(n, u16::try_from(len).map_err(|_| EMSGSIZE)?);
            let room = self.room.get_mut(start..).ok_or(EMSGSIZE)?;
            write(room.get_mut(..HEAD).ok_or(EMSGSIZE)?, &head);
            Ok(())
        });
        done.inspect_err(|_| self.used = start)
    }
}

/// A `struct nlattr`.
#[inline]
fn header(n: u16, len: u16) -> [u8; HEAD] {
    let ([l0, l1], [n0, n1]) = (len.to_ne_bytes(), n.to_ne_bytes());
    [l0, l1, n0, n1]
}

/// Copies `from` to the start of `to`, as much as there is of both.
#[inline]
fn write(to: &mut [MaybeUninit<u8>], from: &[u8]) {
    let len = to.len().min(from.len());
    // SAFETY: Both have so many bytes, and `to` is borrowed by nobody else.
    unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr().cast(), len) };
}
