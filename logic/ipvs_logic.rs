// SPDX-License-Identifier: GPL-2.0
//! The part of IPVS that is only computation.
//!
//! Hashes, checksums, state machines, scheduling decisions, the text of `/proc` files, the rules for
//! configuration values. Nothing here knows of locks, memory or the kernel, and the crate needs
//! `core` only, so the same files are built by Kbuild into `ip_vs.ko` and by cargo for tests.
//!
//! Conventions:
//! - Addresses and ports stay in network order, as they lie in a packet; [`addr::Port::host`] and
//!   friends convert where a number is wanted.
//! - Nothing panics, whatever the input: values from packets and from user space are reached through
//!   checked access and wrapping or saturating arithmetic.
//!
//! Tests, all in this folder:
//! - `cargo test` takes seconds; `PROPTEST_CASES=20000 cargo test` looks harder.
//! - `PROPTEST_CASES=2 MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test` takes minutes.
//! - `cargo +nightly fuzz run headers`, `checksum` and `uapi`, with cargo-fuzz; `fuzz/` is a workspace of its own.

// Kbuild already passes `-Zcrate-attr=no_std`; this line is for cargo.
#![cfg_attr(not(any(test, CONFIG_RUST)), no_std)]
#![forbid(unsafe_code)]

pub mod addr;
pub mod checksum;
pub mod conns;
pub mod ctl;
pub mod defense;
pub mod est;
pub mod flags;
pub mod ipv6;
pub mod netlink;
pub mod overload;
pub mod persist;
pub mod procfmt;
pub mod sched;
pub mod siphash;
pub mod state;
pub mod stats;
pub mod table;
pub mod tcp;
pub mod timeouts;
pub mod tunnel;
mod tuple;
pub mod uapi;
pub mod udp;
