// SPDX-License-Identifier: GPL-2.0
//! The text of the files in `/proc/net`, byte for byte as stock IPVS writes it.
//!
//! Lines are put together in a buffer without `core::fmt`: `ip_vs_conn` may have a million of them.

mod conn;
mod service;
mod stats;
mod status;

pub use conn::{
    conn_header, conn_line, conn_sync_header, conn_sync_line, expires_secs, ConnLine, PeColumns,
};
pub use service::{dest_line, info_header, service_line, version, DestLine, ServiceLine};
pub use stats::{percpu_header, percpu_line, percpu_total, stats_file};
pub use status::{app_header, app_line, AppLine, Buckets, Status, TableStatus};

use crate::addr::{proto_name, Addr, Port};
use core::fmt;

/// A line under construction: what does not fit in its `N` bytes is left out.
pub struct Line<const N: usize> {
    buf: [u8; N],
    len: usize,
}

impl<const N: usize> Default for Line<N> {
    fn default() -> Self {
        Line::new()
    }
}

/// ASCII digits of a number, most significant first; `letters` is the distance from the digits to the
/// letters less ten.
#[inline]
const fn hex(x: u32, letters: u64) -> [u8; 8] {
    // One nibble a byte.
    let x = x as u64;
    let x = ((x << 16) | x) & 0x0000_ffff_0000_ffff;
    let x = ((x << 8) | x) & 0x00ff_00ff_00ff_00ff;
    let x = ((x << 4) | x) & 0x0f0f_0f0f_0f0f_0f0f;
    // 1 in each byte above 9.
    let above = (x.wrapping_add(0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    let text = x
        .wrapping_add(0x3030_3030_3030_3030)
        .wrapping_add(above.wrapping_mul(letters));
    text.to_be_bytes()
}

const UPPER: u64 = (b'A' - b'0' - 10) as u64;
const LOWER: u64 = (b'a' - b'0' - 10) as u64;

impl<const N: usize> Line<N> {
    /// An empty line.
    #[inline]
    pub const fn new() -> Self {
        Line {
            buf: [0; N],
            len: 0,
        }
    }

    /// What has been written.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    /// Empties the line.
    #[inline]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Hands the line to a writer; bytes that are not UTF-8 become `?`.
    pub fn write_to<W: fmt::Write + ?Sized>(&self, w: &mut W) -> fmt::Result {
        if let Ok(s) = core::str::from_utf8(self.as_bytes()) {
            return w.write_str(s);
        }
        for chunk in self.as_bytes().utf8_chunks() {
            w.write_str(chunk.valid())?;
            for _ in chunk.invalid() {
                w.write_char('?')?;
            }
        }
        Ok(())
    }

    #[inline]
    fn array<const K: usize>(&mut self, bytes: [u8; K]) {
        let room = self
            .buf
            .get_mut(self.len..)
            .and_then(|b| b.first_chunk_mut());
        if let Some(room) = room {
            *room = bytes;
            self.len = self.len.wrapping_add(K);
        }
    }

    /// Appends a byte.
    #[inline]
    pub fn byte(&mut self, b: u8) {
        self.array([b]);
    }

    /// Appends bytes.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        let room = self.buf.get_mut(self.len..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.len = self.len.wrapping_add(bytes.len().min(room.len()));
    }

    /// Appends text.
    #[inline]
    pub fn str(&mut self, s: &str) {
        self.bytes(s.as_bytes());
    }

    #[inline]
    fn spaces(&mut self, n: usize) {
        for _ in 0..n {
            self.byte(b' ');
        }
    }

    /// Appends text and fills up to `width` with spaces (`%-*s`).
    #[inline]
    pub fn left(&mut self, s: &str, width: usize) {
        self.str(s);
        self.spaces(width.saturating_sub(s.len()));
    }

    /// Appends eight upper-case hexadecimal digits (`%08X`).
    #[inline]
    pub fn hex8(&mut self, n: u32) {
        self.array(hex(n, UPPER));
    }

    /// Appends four upper-case hexadecimal digits (`%04X`) of a port.
    #[inline]
    pub fn port(&mut self, port: Port) {
        let [.., a, b, c, d] = hex(u32::from(port.host()), UPPER);
        self.array([a, b, c, d]);
    }

    /// Appends an IPv6 address in full, in lower case (`%pI6`).
    #[inline]
    pub fn addr6(&mut self, addr: &Addr) {
        for (i, word) in addr.words().iter().enumerate() {
            let [a, b, c, d, e, f, g, h] = hex(u32::from_be(*word), LOWER);
            if i > 0 {
                self.byte(b':');
            }
            self.array([a, b, c, d, b':', e, f, g, h]);
        }
    }

    /// Appends a number in upper-case hexadecimal digits after spaces up to `width` (`%*LX`).
    #[inline]
    pub fn hex_right(&mut self, n: u64, width: usize) {
        let digits = (64u32.saturating_sub(n.leading_zeros()).div_ceil(4)).max(1) as usize;
        self.spaces(width.saturating_sub(digits));
        let (high, low) = (hex((n >> 32) as u32, UPPER), hex(n as u32, UPPER));
        if digits > 8 {
            self.bytes(
                high.get(16usize.saturating_sub(digits)..)
                    .unwrap_or_default(),
            );
            self.array(low);
        } else {
            self.bytes(low.get(8usize.saturating_sub(digits)..).unwrap_or_default());
        }
    }

    /// Appends a number after spaces up to `width` (`%*u`).
    #[inline]
    pub fn dec_right(&mut self, n: u64, width: usize) {
        let mut buf = [0; 20];
        let digits = decimal(n, &mut buf);
        self.spaces(width.saturating_sub(digits.len()));
        self.bytes(digits);
    }

    /// Appends a number and fills up to `width` with spaces (`%-*d`).
    #[inline]
    pub fn dec_left(&mut self, n: i64, width: usize) {
        let mut buf = [0; 20];
        let digits = decimal(n.unsigned_abs(), &mut buf);
        let mut len = digits.len();
        if n < 0 {
            self.byte(b'-');
            len = len.wrapping_add(1);
        }
        self.bytes(digits);
        self.spaces(width.saturating_sub(len));
    }

    /// Appends a number (`%d`, `%u`, `%lu`).
    #[inline]
    pub fn dec(&mut self, n: impl Into<i64>) {
        self.dec_left(n.into(), 0);
    }

    /// Appends a protocol's name and fills up to `width` with spaces.
    #[inline]
    pub fn proto(&mut self, proto: u16, width: usize) {
        match proto_name(proto) {
            Some(name) => self.left(name, width),
            // Longer than any width in use.
            None => {
                self.str("IP_");
                self.dec(proto);
            }
        }
    }
}

/// The decimal digits of a number, in the end of `buf`.
#[inline]
fn decimal(mut n: u64, buf: &mut [u8; 20]) -> &[u8] {
    let mut start = buf.len();
    for slot in buf.iter_mut().rev() {
        *slot = b'0'.wrapping_add((n % 10) as u8);
        start = start.wrapping_sub(1);
        n /= 10;
        if n == 0 {
            break;
        }
    }
    buf.get(start..).unwrap_or_default()
}
