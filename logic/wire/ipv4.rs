// SPDX-License-Identifier: GPL-2.0
//! IPv4.

use super::{byte, get, need, num16, raw16, raw32, set, Error, Result};
use crate::addr::{Addr, Proto};
use crate::checksum;

/// Length of a header without options, in bytes.
pub const HEADER_LEN: usize = 20;

const DF: u16 = 0x4000;
const MF: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// A packet, or as much of it as there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<T>(T);

impl<T: AsRef<[u8]>> Packet<T> {
    /// Takes bytes that hold a whole header with its options. `Malformed` unless the version is 4
    /// and the header length at least 20.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Packet<T>> {
        let p = Packet::new_fixed(bytes)?;
        if p.version() != 4 || p.header_len() < HEADER_LEN {
            return Err(Error::Malformed);
        }
        need(p.0.as_ref(), p.header_len())?;
        Ok(p)
    }

    /// Takes bytes that hold the header without options, whatever version and length it claims: for
    /// the packet within an ICMP error, of which stock believes both.
    #[inline]
    pub fn new_fixed(bytes: T) -> Result<Packet<T>> {
        need(bytes.as_ref(), HEADER_LEN)?;
        Ok(Packet(bytes))
    }

    /// The bytes again.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// Version, 4 bits.
    #[inline]
    pub fn version(&self) -> u8 {
        byte(self.0.as_ref(), 0) >> 4
    }

    /// Length of the header with options, in bytes: a multiple of 4 up to 60.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(byte(self.0.as_ref(), 0) & 15) << 2
    }

    /// Type of service.
    #[inline]
    pub fn tos(&self) -> u8 {
        byte(self.0.as_ref(), 1)
    }

    /// Length of the packet as it claims, in bytes.
    #[inline]
    pub fn total_len(&self) -> u16 {
        num16(self.0.as_ref(), 2)
    }

    /// Identification of fragments that belong together.
    #[inline]
    pub fn id(&self) -> u16 {
        num16(self.0.as_ref(), 4)
    }

    /// Whether it must not be fragmented.
    #[inline]
    pub fn dont_frag(&self) -> bool {
        num16(self.0.as_ref(), 6) & DF != 0
    }

    /// Whether more fragments follow.
    #[inline]
    pub fn more_frags(&self) -> bool {
        num16(self.0.as_ref(), 6) & MF != 0
    }

    /// Where the fragment belongs, in bytes.
    #[inline]
    pub fn frag_offset(&self) -> u16 {
        (num16(self.0.as_ref(), 6) & OFFSET_MASK).wrapping_shl(3)
    }

    /// Whether it is a fragment, the first included.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        num16(self.0.as_ref(), 6) & (MF | OFFSET_MASK) != 0
    }

    /// Whether it is a fragment without transport header.
    #[inline]
    pub fn is_later_fragment(&self) -> bool {
        num16(self.0.as_ref(), 6) & OFFSET_MASK != 0
    }

    /// Time to live.
    #[inline]
    pub fn ttl(&self) -> u8 {
        byte(self.0.as_ref(), 8)
    }

    /// Transport protocol.
    #[inline]
    pub fn proto(&self) -> Proto {
        Proto(byte(self.0.as_ref(), 9))
    }

    /// The header's checksum, in network order.
    #[inline]
    pub fn checksum(&self) -> u16 {
        raw16(self.0.as_ref(), 10)
    }

    /// Where it comes from.
    #[inline]
    pub fn src(&self) -> Addr {
        Addr::v4(raw32(self.0.as_ref(), 12))
    }

    /// Where it goes to.
    #[inline]
    pub fn dst(&self) -> Addr {
        Addr::v4(raw32(self.0.as_ref(), 16))
    }

    /// The header as far as there are bytes.
    #[inline]
    pub fn header(&self) -> &[u8] {
        let bytes = self.0.as_ref();
        bytes.get(..self.header_len()).unwrap_or(bytes)
    }

    /// What follows the header, as far as there are bytes, and not beyond the total length.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        let bytes = self.0.as_ref();
        let bytes = bytes.get(..usize::from(self.total_len())).unwrap_or(bytes);
        bytes.get(self.header_len()..).unwrap_or_default()
    }

    /// Whether the header's checksum is right.
    pub fn verify(&self) -> bool {
        checksum::Sum::ZERO.add_bytes(self.header()).finish() == 0
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Sets where it comes from; the checksum is the caller's to mend.
    #[inline]
    pub fn set_src(&mut self, addr: &Addr) {
        set(self.0.as_mut(), 12, addr.v4_be().to_ne_bytes());
    }

    /// Sets where it goes to; the checksum is the caller's to mend.
    #[inline]
    pub fn set_dst(&mut self, addr: &Addr) {
        set(self.0.as_mut(), 16, addr.v4_be().to_ne_bytes());
    }

    /// Sets the header's checksum, in network order.
    #[inline]
    pub fn set_checksum(&mut self, check: u16) {
        set(self.0.as_mut(), 10, check.to_ne_bytes());
    }

    /// Computes the header's checksum anew.
    pub fn fill_checksum(&mut self) {
        let check = checksum::ipv4_header(self.header());
        self.set_checksum(check);
    }
}

/// A header without options, to be emitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repr {
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Must not be fragmented.
    pub dont_frag: bool,
    /// Time to live.
    pub ttl: u8,
    /// Transport protocol.
    pub proto: Proto,
    /// Where it comes from.
    pub src: Addr,
    /// Where it goes to.
    pub dst: Addr,
    /// Bytes after the header.
    pub payload_len: u16,
}

impl Repr {
    /// What a packet says. `Malformed` for options, fragments and a length less than its header's.
    pub fn parse<T: AsRef<[u8]>>(p: &Packet<T>) -> Result<Repr> {
        let len = p
            .total_len()
            .checked_sub(HEADER_LEN as u16)
            .ok_or(Error::Malformed)?;
        if p.header_len() != HEADER_LEN || p.is_fragment() {
            return Err(Error::Malformed);
        }
        Ok(Repr {
            tos: p.tos(),
            id: p.id(),
            dont_frag: p.dont_frag(),
            ttl: p.ttl(),
            proto: p.proto(),
            src: p.src(),
            dst: p.dst(),
            payload_len: len,
        })
    }

    /// Length of the header, in bytes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// The header, with its checksum.
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let [l0, l1] = self
            .payload_len
            .wrapping_add(HEADER_LEN as u16)
            .to_be_bytes();
        let [i0, i1] = self.id.to_be_bytes();
        let [f0, f1] = (if self.dont_frag { DF } else { 0 }).to_be_bytes();
        let [s0, s1, s2, s3] = self.src.v4_be().to_ne_bytes();
        let [d0, d1, d2, d3] = self.dst.v4_be().to_ne_bytes();
        let (tos, ttl, proto) = (self.tos, self.ttl, self.proto.0);
        let mut header = [
            0x45, tos, l0, l1, i0, i1, f0, f1, ttl, proto, 0, 0, s0, s1, s2, s3, d0, d1, d2, d3,
        ];
        let check = checksum::ipv4_header(&header);
        set(&mut header, 10, check.to_ne_bytes());
        header
    }
}

/// The first 20 bytes, for views that live on the stack.
#[inline]
pub fn fixed(bytes: &[u8]) -> Option<[u8; HEADER_LEN]> {
    need(bytes, HEADER_LEN).ok()?;
    Some(get(bytes, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // From RFC 1071-style examples all over the place: a UDP packet with checksum b861.
    const HDR: [u8; 20] = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00,
        0x01, 0xc0, 0xa8, 0x00, 0xc7,
    ];

    #[test]
    fn fields() {
        let p = Packet::new_checked(HDR).unwrap();
        assert_eq!((p.version(), p.header_len(), p.tos()), (4, 20, 0));
        assert_eq!((p.total_len(), p.id(), p.ttl()), (115, 0, 64));
        assert_eq!(p.proto(), Proto::UDP);
        assert!(p.dont_frag() && !p.more_frags() && !p.is_fragment());
        assert_eq!(p.src().v4_host(), 0xc0a8_0001);
        assert_eq!(p.dst().v4_host(), 0xc0a8_00c7);
        assert_eq!(p.checksum().to_ne_bytes(), [0xb8, 0x61]);
        assert!(p.verify());
        assert_eq!(p.payload(), []);
        assert_eq!(p.into_inner(), HDR);
    }

    #[test]
    fn emitted_as_parsed() {
        let p = Packet::new_checked(HDR).unwrap();
        let r = Repr::parse(&p).unwrap();
        assert_eq!(r.payload_len, 95);
        assert_eq!(r.buffer_len(), 20);
        assert_eq!(r.emit(), HDR);
    }

    #[test]
    fn refused() {
        for len in 0..20 {
            assert_eq!(Packet::new_checked(&HDR[..len]), Err(Error::Truncated));
            assert_eq!(fixed(&HDR[..len]), None);
        }
        let mut h = HDR;
        h[0] = 0x65;
        assert_eq!(Packet::new_checked(h), Err(Error::Malformed));
        h[0] = 0x44;
        assert_eq!(Packet::new_checked(h), Err(Error::Malformed));
        h[0] = 0x46;
        assert_eq!(Packet::new_checked(h), Err(Error::Truncated));
        assert!(Packet::new_fixed(h).is_ok());
        let long = [h.as_slice(), &[1, 1, 1, 1]].concat();
        let p = Packet::new_checked(long.as_slice()).unwrap();
        assert_eq!((p.header().len(), p.payload().len()), (24, 0));
        assert_eq!(Repr::parse(&p), Err(Error::Malformed));
    }

    #[test]
    fn fragments() {
        for (bytes, more, offset) in [
            ([0x20, 0], true, 0),
            ([0, 1], false, 8),
            ([0x3f, 0xff], true, 65528),
        ] {
            let mut h = HDR;
            h[6..8].copy_from_slice(&bytes);
            let p = Packet::new_checked(h).unwrap();
            assert!(p.is_fragment());
            assert_eq!((p.more_frags(), p.frag_offset()), (more, offset));
            assert_eq!(p.is_later_fragment(), offset != 0);
            assert_eq!(Repr::parse(&p), Err(Error::Malformed));
        }
    }

    #[test]
    fn payload_ends_with_the_packet() {
        let mut h = HDR;
        h[3] = 22;
        let bytes = [h.as_slice(), &[1, 2, 3, 4]].concat();
        assert_eq!(Packet::new_checked(&bytes).unwrap().payload(), [1, 2]);
        // A total length less than the header's leaves nothing.
        h[3] = 5;
        let bytes = [h.as_slice(), &[1, 2, 3, 4]].concat();
        assert_eq!(Packet::new_checked(&bytes).unwrap().payload(), []);
    }

    proptest! {
        #[test]
        fn setters_and_checksum(src: u32, dst: u32) {
            let mut p = Packet::new_checked(HDR).unwrap();
            p.set_src(&Addr::v4(src));
            p.set_dst(&Addr::v4(dst));
            p.fill_checksum();
            prop_assert_eq!((p.src().v4_be(), p.dst().v4_be()), (src, dst));
            prop_assert!(p.verify());
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(p) = Packet::new_fixed(&bytes) {
                let _ = (p.header(), p.payload(), p.verify(), p.frag_offset(), Repr::parse(&p));
            }
            if let Ok(p) = Packet::new_checked(&bytes) {
                prop_assert_eq!(p.header().len(), p.header_len());
                prop_assert!(p.header_len() + p.payload().len() <= bytes.len());
                if let Ok(r) = Repr::parse(&p) {
                    let emitted = r.emit();
                    let again = Packet::new_checked(&emitted).unwrap();
                    prop_assert_eq!(Repr::parse(&again), Ok(r));
                    prop_assert!(again.verify());
                }
            }
        }
    }
}
