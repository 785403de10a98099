// SPDX-License-Identifier: GPL-2.0
//! ICMP of both families.

use super::{byte, get, need, num16, num32, raw16, set, Result};
use crate::addr::{Af, Port};
use crate::checksum::Sum;

/// Length of the header, in bytes; an error's packet follows.
pub const HEADER_LEN: usize = 8;

/// Types of ICMP for IPv4.
pub mod v4 {
    /// Answer to an echo request.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const DEST_UNREACH: u8 = 3;
    /// Source quench.
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Code of [`DEST_UNREACH`]: must be fragmented and may not.
    pub const CODE_FRAG_NEEDED: u8 = 4;
    /// Code of [`DEST_UNREACH`]: no such port.
    pub const CODE_PORT_UNREACH: u8 = 3;
}

/// Types of ICMP for IPv6.
pub mod v6 {
    /// Destination unreachable.
    pub const DEST_UNREACH: u8 = 1;
    /// Packet too big.
    pub const PKT_TOOBIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEED: u8 = 3;
    /// Parameter problem.
    pub const PARAMPROB: u8 = 4;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Answer to an echo request.
    pub const ECHO_REPLY: u8 = 129;
}

/// A message, or its header at least.
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

    /// Type.
    #[inline]
    pub fn kind(&self) -> u8 {
        byte(self.0.as_ref(), 0)
    }

    /// Code.
    #[inline]
    pub fn code(&self) -> u8 {
        byte(self.0.as_ref(), 1)
    }

    /// Checksum, in network order.
    #[inline]
    pub fn checksum(&self) -> u16 {
        raw16(self.0.as_ref(), 2)
    }

    /// The second half of the header, whose meaning the type decides.
    #[inline]
    pub fn rest(&self) -> [u8; 4] {
        get(self.0.as_ref(), 4)
    }

    /// Identifier of an echo, in the place of a port.
    #[inline]
    pub fn echo_id(&self) -> Port {
        Port::from_be(raw16(self.0.as_ref(), 4))
    }

    /// MTU that "must be fragmented" of IPv4 gives, in bytes.
    #[inline]
    pub fn mtu4(&self) -> u16 {
        num16(self.0.as_ref(), 6)
    }

    /// MTU that "too big" of IPv6 gives, in bytes.
    #[inline]
    pub fn mtu6(&self) -> u32 {
        num32(self.0.as_ref(), 4)
    }

    /// What follows the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.0.as_ref().get(HEADER_LEN..).unwrap_or_default()
    }

    /// Whether it is an error about a packet whose beginning it carries, of a type IPVS relates to
    /// the packet's connection.
    #[inline]
    pub fn is_related_error(&self, af: Af) -> bool {
        match af {
            Af::Inet => {
                matches!(
                    self.kind(),
                    v4::DEST_UNREACH | v4::SOURCE_QUENCH | v4::TIME_EXCEEDED
                )
            }
            // Informational messages have the top bit set.
            Af::Inet6 => self.kind() & 0x80 == 0,
        }
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Sets the checksum, in network order.
    #[inline]
    pub fn set_checksum(&mut self, check: u16) {
        set(self.0.as_mut(), 2, check.to_ne_bytes());
    }

    /// Sets the MTU of "must be fragmented" of IPv4; the checksum is the caller's to mend.
    #[inline]
    pub fn set_mtu4(&mut self, mtu: u16) {
        set(self.0.as_mut(), 6, mtu.to_be_bytes());
    }

    /// Computes the checksum of IPv4's ICMP anew, of all bytes there are.
    pub fn fill_checksum4(&mut self) {
        self.set_checksum(0);
        let check = Sum::ZERO.add_bytes(self.0.as_ref()).finish();
        self.set_checksum(check);
    }
}

/// A header to be emitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repr {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The second half of the header.
    pub rest: [u8; 4],
}

impl Repr {
    /// What a message says.
    pub fn parse<T: AsRef<[u8]>>(p: &Packet<T>) -> Repr {
        Repr {
            kind: p.kind(),
            code: p.code(),
            rest: p.rest(),
        }
    }

    /// Length of the header, in bytes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// The header, the checksum being 0.
    pub const fn emit(&self) -> [u8; HEADER_LEN] {
        let [a, b, c, d] = self.rest;
        [self.kind, self.code, 0, 0, a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use super::super::Error;
    use super::*;
    use proptest::prelude::*;

    const FRAG_NEEDED: [u8; 10] = [3, 4, 0xaa, 0xbb, 0, 0, 0x05, 0x78, 0x45, 0];

    #[test]
    fn fields() {
        let p = Packet::new_checked(FRAG_NEEDED).unwrap();
        assert_eq!(
            (p.kind(), p.code()),
            (v4::DEST_UNREACH, v4::CODE_FRAG_NEEDED)
        );
        assert_eq!(
            (p.mtu4(), p.mtu6(), p.rest()),
            (1400, 1400, [0, 0, 5, 0x78])
        );
        assert_eq!(p.checksum().to_ne_bytes(), [0xaa, 0xbb]);
        assert_eq!(p.payload(), [0x45, 0]);
        assert_eq!(p.into_inner(), FRAG_NEEDED);
        for len in 0..8 {
            assert_eq!(
                Packet::new_checked(&FRAG_NEEDED[..len]),
                Err(Error::Truncated)
            );
        }
        let ping = Packet::new_checked([8, 0, 0, 0, 0x12, 0x34, 0, 1]).unwrap();
        assert_eq!(ping.echo_id().host(), 0x1234);
    }

    #[test]
    fn errors_with_packets() {
        let related = |af, kind| {
            Packet::new_checked([kind, 0, 0, 0, 0, 0, 0, 0])
                .unwrap()
                .is_related_error(af)
        };
        let v4: Vec<_> = (0..=255).filter(|k| related(Af::Inet, *k)).collect();
        assert_eq!(v4, [3, 4, 11]);
        assert!((0..128).all(|k| related(Af::Inet6, k)));
        assert!((128..=255).all(|k| !related(Af::Inet6, k)));
    }

    proptest! {
        #[test]
        fn emitted_and_filled(kind: u8, code: u8, rest: [u8; 4], mtu: u16, data: Vec<u8>) {
            let r = Repr { kind, code, rest };
            let mut bytes = [r.emit().as_slice(), &data].concat();
            let mut p = Packet::new_checked(&mut bytes).unwrap();
            prop_assert_eq!(Repr::parse(&p), r);
            prop_assert_eq!(r.buffer_len(), HEADER_LEN);
            p.set_mtu4(mtu);
            p.fill_checksum4();
            prop_assert_eq!((p.mtu4(), p.payload().len()), (mtu, data.len()));
            prop_assert_eq!(Sum::ZERO.add_bytes(&bytes).finish(), 0);
        }
    }
}
