// SPDX-License-Identifier: GPL-2.0
//! UDP.

use super::{need, num16, raw16, set, Result};
use crate::addr::Port;

/// Length of the header, in bytes.
pub const HEADER_LEN: usize = 8;

/// A datagram, or its header at least.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<T>(T);

impl<T: AsRef<[u8]>> Packet<T> {
    /// Takes bytes that hold the header.
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

    /// Length of header and data as the datagram claims, in bytes.
    #[inline]
    pub fn len(&self) -> u16 {
        num16(self.0.as_ref(), 4)
    }

    /// Whether there is no data, by the length it claims.
    #[inline]
    pub fn is_empty(&self) -> bool {
        usize::from(self.len()) <= HEADER_LEN
    }

    /// Checksum, in network order; 0 for none.
    #[inline]
    pub fn checksum(&self) -> u16 {
        raw16(self.0.as_ref(), 6)
    }

    /// The data, as far as there are bytes, and not beyond the length.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        let bytes = self.0.as_ref();
        let bytes = bytes.get(..usize::from(self.len())).unwrap_or(bytes);
        bytes.get(HEADER_LEN..).unwrap_or_default()
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

    /// Sets the checksum, in network order.
    #[inline]
    pub fn set_checksum(&mut self, check: u16) {
        set(self.0.as_mut(), 6, check.to_ne_bytes());
    }
}

/// A header to be emitted, as of a tunnel over UDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repr {
    /// Source port.
    pub src_port: Port,
    /// Destination port.
    pub dst_port: Port,
    /// Bytes after the header.
    pub payload_len: u16,
}

impl Repr {
    /// Length of the header, in bytes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// The header, without a checksum.
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let [s0, s1] = self.src_port.be().to_ne_bytes();
        let [d0, d1] = self.dst_port.be().to_ne_bytes();
        let [l0, l1] = self
            .payload_len
            .wrapping_add(HEADER_LEN as u16)
            .to_be_bytes();
        [s0, s1, d0, d1, l0, l1, 0, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::super::Error;
    use super::*;
    use proptest::prelude::*;

    const DNS: [u8; 12] = [0x30, 0x39, 0, 53, 0, 11, 0x12, 0x34, 1, 2, 3, 4];

    #[test]
    fn fields() {
        let p = Packet::new_checked(DNS).unwrap();
        assert_eq!(
            (p.src_port().host(), p.dst_port().host(), p.len()),
            (12345, 53, 11)
        );
        assert_eq!(p.checksum().to_ne_bytes(), [0x12, 0x34]);
        assert_eq!(p.payload(), [1, 2, 3]);
        assert!(!p.is_empty());
        assert_eq!(p.into_inner(), DNS);
        for len in 0..8 {
            assert_eq!(Packet::new_checked(&DNS[..len]), Err(Error::Truncated));
        }
        let p = Packet::new_checked(&DNS[..9]).unwrap();
        assert_eq!(p.payload(), [1]);
    }

    #[test]
    fn odd_lengths() {
        for len in [0, 7, 8] {
            let mut b = DNS;
            b[5] = len;
            let p = Packet::new_checked(b).unwrap();
            assert!(p.is_empty());
            assert_eq!(p.payload(), []);
        }
    }

    proptest! {
        #[test]
        fn emitted_and_set(a: u16, b: u16, len in 0u16..65000, check: u16) {
            let (src_port, dst_port) = (Port::from_host(a), Port::from_host(b));
            let r = Repr { src_port, dst_port, payload_len: len };
            let mut p = Packet::new_checked(r.emit()).unwrap();
            prop_assert_eq!((p.src_port(), p.dst_port()), (src_port, dst_port));
            prop_assert_eq!((p.len(), p.checksum(), r.buffer_len()), (len + 8, 0, 8));
            p.set_src_port(dst_port);
            p.set_dst_port(src_port);
            p.set_checksum(check);
            prop_assert_eq!((p.src_port(), p.dst_port()), (dst_port, src_port));
            prop_assert_eq!(p.checksum(), check);
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(p) = Packet::new_checked(&bytes) {
                prop_assert!(p.payload().len() + HEADER_LEN <= bytes.len());
            }
        }
    }
}
