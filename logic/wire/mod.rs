// SPDX-License-Identifier: GPL-2.0
//! Packet headers: checked views over bytes, and descriptions to emit headers from.
//!
//! A view is made by `new_checked()`, which says whether the bytes are enough and make sense; its
//! getters then cannot fail. Numbers are in host order; addresses, ports and checksums in network
//! order, like everywhere in this crate.

pub mod icmp;
pub mod ipv4;
pub mod tcp;
pub mod udp;

/// Why bytes are no header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// Too few bytes.
    Truncated,
    /// Values that contradict each other or the protocol.
    Malformed,
}

/// Result of looking at bytes.
pub type Result<T = ()> = core::result::Result<T, Error>;

/// `N` bytes at an offset; zeros if they are not there, which a checked view rules out.
#[inline(always)]
fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    match bytes.get(at..).and_then(|b| b.first_chunk()) {
        Some(b) => *b,
        None => [0; N],
    }
}

/// Writes `N` bytes at an offset; nothing if there is no room, which a checked view rules out.
#[inline(always)]
fn set<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(b) = bytes.get_mut(at..).and_then(|b| b.first_chunk_mut()) {
        *b = value;
    }
}

/// 16 bits in network order.
#[inline(always)]
fn raw16(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(get(bytes, at))
}

/// 16 bits as a number.
#[inline(always)]
fn num16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(get(bytes, at))
}

/// 32 bits in network order.
#[inline(always)]
fn raw32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(get(bytes, at))
}

/// 32 bits as a number.
#[inline(always)]
fn num32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(get(bytes, at))
}

/// Eight bits.
#[inline(always)]
fn byte(bytes: &[u8], at: usize) -> u8 {
    match bytes.get(at) {
        Some(b) => *b,
        None => 0,
    }
}

/// Succeeds if there are at least `len` bytes.
#[inline(always)]
fn need(bytes: &[u8], len: usize) -> Result {
    if bytes.len() >= len {
        Ok(())
    } else {
        Err(Error::Truncated)
    }
}
