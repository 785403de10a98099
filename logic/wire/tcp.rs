// SPDX-License-Identifier: GPL-2.0
//! TCP.

use super::{byte, need, num16, num32, raw16, set, Error, Result};
use crate::addr::Port;
use crate::tcp::TcpFlags;

/// Length of a header without options, in bytes.
pub const HEADER_LEN: usize = 20;

/// A segment, or its first 20 bytes at least.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<T>(T);

impl<T: AsRef<[u8]>> Packet<T> {
    /// Takes bytes that hold the header without options.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Packet<T>> {
        need(bytes.as_ref(), HEADER_LEN)?;
        Ok(Packet(bytes))
    }

    /// The bytes again.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// Source port.
    #[inline]
    pub fn src_port(&self) -> Port {
        Port::from_be(raw16(self.0.as_ref(), 0))
    }

    /// Destination port.
    #[inline]
    pub fn dst_port(&self) -> Port {
        Port::from_be(raw16(self.0.as_ref(), 2))
    }

    /// Sequence number.
    #[inline]
    pub fn seq(&self) -> u32 {
        num32(self.0.as_ref(), 4)
    }

    /// Acknowledgement number.
    #[inline]
    pub fn ack_seq(&self) -> u32 {
        num32(self.0.as_ref(), 8)
    }

    /// Length of the header with options, in bytes: a multiple of 4 up to 60.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(byte(self.0.as_ref(), 12) >> 4) << 2
    }

    /// The flags of byte 13.
    #[inline]
    pub fn flags(&self) -> TcpFlags {
        TcpFlags(byte(self.0.as_ref(), 13))
    }

    /// Window.
    #[inline]
    pub fn window(&self) -> u16 {
        num16(self.0.as_ref(), 14)
    }

    /// Checksum, in network order.
    #[inline]
    pub fn checksum(&self) -> u16 {
        raw16(self.0.as_ref(), 16)
    }

    /// The options. `Malformed` if the header claims less than 20 bytes, `Truncated` if more than
    /// there are.
    #[inline]
    pub fn options(&self) -> Result<&[u8]> {
        match self.0.as_ref().get(HEADER_LEN..self.header_len()) {
            Some(o) => Ok(o),
            None if self.header_len() < HEADER_LEN => Err(Error::Malformed),
            None => Err(Error::Truncated),
        }
    }

    /// The data. Errors as of [`Packet::options`].
    #[inline]
    pub fn payload(&self) -> Result<&[u8]> {
        self.options()?;
        self.0
            .as_ref()
            .get(self.header_len()..)
            .ok_or(Error::Truncated)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Sets the source port; the checksum is the caller's to mend.
    #[inline]
    pub fn set_src_port(&mut self, port: Port) {
        set(self.0.as_mut(), 0, port.be().to_ne_bytes());
    }

    /// Sets the destination port; the checksum is the caller's to mend.
    #[inline]
    pub fn set_dst_port(&mut self, port: Port) {
        set(self.0.as_mut(), 2, port.be().to_ne_bytes());
    }

    /// Sets the sequence number; the checksum is the caller's to mend.
    #[inline]
    pub fn set_seq(&mut self, seq: u32) {
        set(self.0.as_mut(), 4, seq.to_be_bytes());
    }

    /// Sets the acknowledgement number; the checksum is the caller's to mend.
    #[inline]
    pub fn set_ack_seq(&mut self, seq: u32) {
        set(self.0.as_mut(), 8, seq.to_be_bytes());
    }

    /// Sets the checksum, in network order.
    #[inline]
    pub fn set_checksum(&mut self, check: u16) {
        set(self.0.as_mut(), 16, check.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SYN: [u8; 24] = [
        0x9c, 0x40, 0x00, 0x50, 1, 2, 3, 4, 0, 0, 0, 9, 0x60, 0x02, 0xff, 0xff, 0xab, 0xcd, 0, 0,
        2, 4, 5, 0xb4,
    ];

    #[test]
    fn fields() {
        let p = Packet::new_checked(SYN).unwrap();
        assert_eq!((p.src_port().host(), p.dst_port().host()), (40000, 80));
        assert_eq!((p.seq(), p.ack_seq(), p.window()), (0x0102_0304, 9, 65535));
        assert_eq!((p.header_len(), p.flags()), (24, TcpFlags::SYN));
        assert_eq!(p.checksum().to_ne_bytes(), [0xab, 0xcd]);
        assert_eq!(p.options(), Ok([2, 4, 5, 0xb4].as_slice()));
        assert_eq!(p.payload(), Ok([].as_slice()));
        assert_eq!(p.into_inner(), SYN);
    }

    #[test]
    fn refused() {
        for len in 0..20 {
            assert_eq!(Packet::new_checked(&SYN[..len]), Err(Error::Truncated));
        }
        for len in 20..24 {
            let p = Packet::new_checked(&SYN[..len]).unwrap();
            assert_eq!(p.options(), Err(Error::Truncated));
            assert_eq!(p.payload(), Err(Error::Truncated));
        }
        let mut b = SYN;
        b[12] = 0x40;
        let p = Packet::new_checked(b).unwrap();
        assert_eq!(p.options(), Err(Error::Malformed));
        assert_eq!(p.payload(), Err(Error::Malformed));
    }

    proptest! {
        #[test]
        fn setters(a: u16, b: u16, c: u16, seq: u32, ack: u32) {
            let mut p = Packet::new_checked(SYN).unwrap();
            p.set_src_port(Port::from_host(a));
            p.set_dst_port(Port::from_host(b));
            p.set_seq(seq);
            p.set_ack_seq(ack);
            p.set_checksum(c);
            prop_assert_eq!((p.src_port().host(), p.dst_port().host()), (a, b));
            prop_assert_eq!((p.seq(), p.ack_seq(), p.checksum()), (seq, ack, c));
            prop_assert_eq!((p.header_len(), p.flags()), (24, TcpFlags::SYN));
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(p) = Packet::new_checked(&bytes) {
                if let Ok(data) = p.payload() {
                    prop_assert_eq!(p.header_len() + data.len(), bytes.len());
                }
            }
        }
    }
}
