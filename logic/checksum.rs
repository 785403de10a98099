// SPDX-License-Identifier: GPL-2.0
//! The Internet checksum: from scratch, and updated for what translation changes.
//!
//! One's complement sums do not care for byte order, so everything here is in network order as
//! loaded from memory (`__be32`, `__be16`, `__sum16`). An update gives exactly what computing anew
//! gives. C counterparts: `tcp_fast_csum_update()` and its relatives in
//! net/netfilter/ipvs/ip_vs_proto_{tcp,udp}.c, include/net/checksum.h.

use crate::addr::{Addr, Port};

/// UDP's way to send a checksum that comes out as 0, which itself means none (`CSUM_MANGLED_0`).
pub const MANGLED_0: u16 = 0xffff;

/// Folds a sum to 32 bits, bringing the carry round.
#[inline]
const fn fold32(sum: u64) -> u32 {
    let (sum, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    sum.wrapping_add(carry as u32)
}

/// Folds a 32-bit partial sum and complements it, like `csum_fold()`. Of the sums only 0 gives
/// `0xffff`.
#[inline]
pub const fn fold(sum: u32) -> u16 {
    // The upper half becomes the complement of both halves and their carry.
    ((!sum).wrapping_sub(sum.rotate_left(16)) >> 16) as u16
}

/// A running sum of at most some thousand millions of words.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Nothing summed yet.
    pub const ZERO: Sum = Sum(0);

    /// Starts from a partial sum of the kernel's (`__wsum`).
    #[inline]
    pub const fn from_partial(sum: u32) -> Sum {
        Sum(sum as u64)
    }

    /// Adds 16 bits.
    #[inline]
    pub const fn add16(self, be: u16) -> Sum {
        Sum(self.0.wrapping_add(be as u64))
    }

    /// Adds 32 bits.
    #[inline]
    pub const fn add32(self, be: u32) -> Sum {
        Sum(self.0.wrapping_add(be as u64))
    }

    /// Adds bytes that start at an even offset; a last odd byte is padded with 0.
    pub fn add_bytes(mut self, bytes: &[u8]) -> Sum {
        let words = bytes.chunks_exact(4);
        let rest = words.remainder();
        for w in words {
            if let Some(w) = w.first_chunk() {
                self = self.add32(u32::from_ne_bytes(*w));
            }
        }
        match *rest {
            [a] => self.add16(u16::from_ne_bytes([a, 0])),
            [a, b] => self.add16(u16::from_ne_bytes([a, b])),
            [a, b, c] => self.add32(u32::from_ne_bytes([a, b, c, 0])),
            _ => self,
        }
    }

    /// Adds the pseudo header of IPv4; `len` is the length of transport header and data in bytes.
    #[inline]
    pub const fn add_pseudo4(self, src: u32, dst: u32, proto: u8, len: u32) -> Sum {
        self.add32(src)
            .add32(dst)
            .add16((proto as u16).to_be())
            .add32(len.to_be())
    }

    /// Adds the pseudo header of IPv6; `len` is the length of transport header and data in bytes.
    #[inline]
    pub fn add_pseudo6(self, src: &Addr, dst: &Addr, proto: u8, len: u32) -> Sum {
        self.add_addr(src)
            .add_addr(dst)
            .add16(u16::from(proto).to_be())
            .add32(len.to_be())
    }

    /// Adds all 16 bytes of an address.
    #[inline]
    pub const fn add_addr(self, addr: &Addr) -> Sum {
        let [a, b, c, d] = *addr.words();
        self.add32(a).add32(b).add32(c).add32(d)
    }

    /// Takes an address out, by adding its complement.
    #[inline]
    const fn sub_addr(self, addr: &Addr) -> Sum {
        let [a, b, c, d] = *addr.words();
        self.add32(!a).add32(!b).add32(!c).add32(!d)
    }

    /// The sum in 16 bits, not complemented.
    #[inline]
    pub const fn fold(self) -> u16 {
        !self.finish()
    }

    /// The checksum of what was summed.
    #[inline]
    pub const fn finish(self) -> u16 {
        fold(fold32(self.0))
    }

    /// The checksum as UDP sends it: never 0.
    #[inline]
    pub const fn finish_udp(self) -> u16 {
        mangle(self.finish())
    }
}

#[inline]
const fn mangle(check: u16) -> u16 {
    if check == 0 {
        MANGLED_0
    } else {
        check
    }
}

/// Checksum of an IPv4 header; its checksum field counts as 0, whatever it holds.
///
/// `header` is the whole header with options. The result goes into the field as it is.
#[inline]
pub fn ipv4_header(header: &[u8]) -> u16 {
    match header.split_first_chunk() {
        Some((fixed, [])) => ipv4_fixed(fixed).finish(),
        Some((fixed, options)) => ipv4_fixed(fixed).add_bytes(options).finish(),
        None => Sum::ZERO.add_bytes(header).finish(),
    }
}

/// The sum of an IPv4 header without options and without its checksum.
#[inline]
const fn ipv4_fixed(header: &[u8; 20]) -> Sum {
    let [a, b, c, d, e, f, g, h, i, j, _, _, k, l, m, n, o, p, q, r] = *header;
    Sum::ZERO
        .add32(u32::from_ne_bytes([a, b, c, d]))
        .add32(u32::from_ne_bytes([e, f, g, h]))
        .add16(u16::from_ne_bytes([i, j]))
        .add32(u32::from_ne_bytes([k, l, m, n]))
        .add32(u32::from_ne_bytes([o, p, q, r]))
}

/// What a translation does to a checksum: the same for each packet of a connection and direction.
///
/// Never the one's complement +0, so that folding keeps the one representation which computing anew
/// would give.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delta(u16);

impl Delta {
    /// Nothing changes.
    pub const NONE: Delta = Delta(0xffff);

    /// An IPv4 address changes.
    #[inline]
    pub const fn addr4(old: u32, new: u32) -> Delta {
        Delta(Sum(0xffff).add32(!old).add32(new).fold())
    }

    /// An IPv4 address and a port change.
    #[inline]
    pub const fn endpoint4(old: u32, new: u32, old_port: Port, new_port: Port) -> Delta {
        let s = Sum(0xffff).add32(!old).add32(new);
        Delta(s.add16(!old_port.be()).add16(new_port.be()).fold())
    }

    /// An IPv6 address changes.
    #[inline]
    pub const fn addr6(old: &Addr, new: &Addr) -> Delta {
        Delta(Sum(0xffff).sub_addr(old).add_addr(new).fold())
    }

    /// An IPv6 address and a port change.
    #[inline]
    pub const fn endpoint6(old: &Addr, new: &Addr, old_port: Port, new_port: Port) -> Delta {
        let s = Sum(0xffff).sub_addr(old).add_addr(new);
        Delta(s.add16(!old_port.be()).add16(new_port.be()).fold())
    }

    /// Both changes.
    #[inline]
    pub const fn and(self, other: Delta) -> Delta {
        Delta(Sum(self.0 as u64).add16(other.0).fold())
    }

    /// Updates a checksum (of TCP, of ICMP, of the IPv4 header).
    #[inline]
    pub const fn apply(self, check: u16) -> u16 {
        let sum = (!check as u32).wrapping_add(self.0 as u32);
        !((sum & 0xffff).wrapping_add(sum >> 16) as u16)
    }

    /// Updates a checksum of UDP. `None`: the datagram has no checksum, and stock IPVS gives it one,
    /// computed anew (see [`Sum::finish_udp`]).
    #[inline]
    pub const fn apply_udp(self, check: u16) -> Option<u16> {
        if check == 0 {
            None
        } else {
            Some(mangle(self.apply(check)))
        }
    }

    /// Updates the field of a packet whose checksum the device completes (`CHECKSUM_PARTIAL`): it
    /// holds the plain sum of the pseudo header. Ports are not part of that, so use
    /// [`Delta::addr4`] or [`Delta::addr6`], with [`Delta::and`] [`Delta::len`] if the length changed.
    #[inline]
    pub const fn apply_partial(self, check: u16) -> u16 {
        let sum = (check as u32).wrapping_add(self.0 as u32);
        (sum & 0xffff).wrapping_add(sum >> 16) as u16
    }

    /// The length in the pseudo header changes, in bytes (16 bits, as the field wraps).
    #[inline]
    pub const fn len(old: u16, new: u16) -> Delta {
        Delta(Sum(0xffff).add16(!old.to_be()).add16(new.to_be()).fold())
    }

    /// 16 bits at an even offset change (network order).
    #[inline]
    pub const fn word16(old: u16, new: u16) -> Delta {
        Delta(Sum(0xffff).add16(!old).add16(new).fold())
    }
}

/// The sum behind a checksum, in a representation that is not 0.
#[inline]
const fn start(check: u16) -> Sum {
    Sum(!(check as u32) as u64)
}

/// A TCP checksum after an IPv4 address and a port have changed.
#[inline]
pub const fn update4(check: u16, old: u32, new: u32, old_port: Port, new_port: Port) -> u16 {
    start(check)
        .add32(!old)
        .add32(new)
        .add16(!old_port.be())
        .add16(new_port.be())
        .finish()
}

/// A TCP checksum after an IPv6 address and a port have changed.
#[inline]
pub const fn update6(check: u16, old: &Addr, new: &Addr, old_port: Port, new_port: Port) -> u16 {
    start(check)
        .sub_addr(old)
        .add_addr(new)
        .add16(!old_port.be())
        .add16(new_port.be())
        .finish()
}

/// Like [`update4`] for UDP; `None` as in [`Delta::apply_udp`].
#[inline]
pub const fn update4_udp(
    check: u16,
    old: u32,
    new: u32,
    old_port: Port,
    new_port: Port,
) -> Option<u16> {
    if check == 0 {
        return None;
    }
    Some(mangle(update4(check, old, new, old_port, new_port)))
}

/// Like [`update6`] for UDP; `None` as in [`Delta::apply_udp`].
#[inline]
pub const fn update6_udp(
    check: u16,
    old: &Addr,
    new: &Addr,
    old_port: Port,
    new_port: Port,
) -> Option<u16> {
    if check == 0 {
        return None;
    }
    Some(mangle(update6(check, old, new, old_port, new_port)))
}

/// The field of a `CHECKSUM_PARTIAL` packet after an IPv4 address has changed, its length being the
/// same.
#[inline]
pub const fn partial4(check: u16, old: u32, new: u32) -> u16 {
    Delta::addr4(old, new).apply_partial(check)
}

/// The field of a `CHECKSUM_PARTIAL` packet after an IPv6 address has changed, its length being the
/// same.
#[inline]
pub const fn partial6(check: u16, old: &Addr, new: &Addr) -> u16 {
    Delta::addr6(old, new).apply_partial(check)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The checksum from its description, in host order over big-endian words.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for w in bytes.chunks(2) {
            sum += (u32::from(w[0]) << 8) | u32::from(*w.get(1).unwrap_or(&0));
            if sum > 0xffff {
                sum -= 0xffff;
            }
        }
        !(sum as u16).to_be()
    }

    /// Pseudo header and segment as bytes; `check_at` is zeroed.
    fn pseudo(
        af6: bool,
        src: &Addr,
        dst: &Addr,
        proto: u8,
        seg: &[u8],
        check_at: usize,
    ) -> Vec<u8> {
        let n = if af6 { 16 } else { 4 };
        let mut v = [&src.to_bytes16()[..n], &dst.to_bytes16()[..n]].concat();
        v.extend((seg.len() as u32).to_be_bytes());
        v.extend([0, 0, 0, proto]);
        let at = v.len() + check_at;
        v.extend(seg);
        v[at..at + 2].fill(0);
        v
    }

    #[test]
    fn header_of_the_books() {
        let mut h = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(ipv4_header(&h).to_ne_bytes(), [0xb8, 0x61]);
        // What is in the field does not matter.
        h[10..12].fill(0);
        assert_eq!(ipv4_header(&h).to_ne_bytes(), [0xb8, 0x61]);
        h[10..12].fill(0xff);
        assert_eq!(ipv4_header(&h).to_ne_bytes(), [0xb8, 0x61]);
        for len in 0..12 {
            let _ = ipv4_header(&h[..len]);
        }
    }

    #[test]
    fn folding() {
        assert_eq!(fold(0), 0xffff);
        assert_eq!(fold(0xffff), 0);
        assert_eq!(fold(0x1_0000), 0xfffe);
        assert_eq!(fold(0xffff_ffff), 0);
        assert_eq!(fold(0x1_fffe), 0);
        assert_eq!(Sum(u64::MAX).finish(), 0);
        assert_eq!(Sum::from_partial(0x1_0000).fold(), 1);
    }

    #[test]
    fn udp_without_checksum() {
        let (a, p) = (Addr::v4(1), Port::ZERO);
        assert_eq!(update4_udp(0, 1, 2, p, p), None);
        assert_eq!(update6_udp(0, &a, &a, p, p), None);
        assert_eq!(Sum(0xffff).finish_udp(), MANGLED_0);
        // A result of 0 is sent as its other representation.
        let check = 1;
        let new = Delta::word16(0, 1).apply(check);
        assert_eq!(new, 0);
        assert_eq!(Delta::word16(0, 1).apply_udp(check), Some(MANGLED_0));
    }

    #[test]
    fn nothing_changes() {
        let step = if cfg!(miri) { 1021 } else { 1 };
        for check in (0..0xffff).step_by(step) {
            assert_eq!(Delta::NONE.apply(check), check);
            assert_eq!(Delta::addr4(7, 7).apply(check), check);
        }
        for check in (1..=0xffff).step_by(step) {
            assert_eq!(Delta::NONE.apply_partial(check), check);
        }
    }

    #[test]
    fn no_difference_is_zero() {
        let (ones, zeros) = (Addr::from_words([!0; 4]), Addr::UNSPECIFIED);
        let (p, q) = (Port::from_be(!0), Port::ZERO);
        for d in [
            Delta::addr4(!0, 0),
            Delta::addr6(&ones, &zeros),
            Delta::endpoint4(!0, 0, p, q),
            Delta::endpoint6(&ones, &zeros, p, q),
            Delta::word16(!0, 0),
            Delta::len(!0, 0),
            Delta::NONE.and(Delta::NONE),
        ] {
            assert_eq!(d, Delta::NONE);
            // Of a plain sum the one representation of 0 that computing anew gives.
            assert_eq!((d.apply_partial(0), d.apply(0xffff)), (0xffff, 0));
        }
    }

    proptest! {
        #[test]
        fn sums_as_described(bytes: Vec<u8>) {
            prop_assert_eq!(Sum::ZERO.add_bytes(&bytes).finish(), naive(&bytes));
        }

        #[test]
        fn sums_in_parts(bytes: Vec<u8>, cut: prop::sample::Index) {
            let (a, b) = bytes.split_at(cut.index(bytes.len() + 1) & !1);
            let whole = Sum::ZERO.add_bytes(&bytes).finish();
            prop_assert_eq!(Sum::ZERO.add_bytes(a).add_bytes(b).finish(), whole);
        }

        #[test]
        fn update_is_recomputation4(
            old: [u8; 4], new: [u8; 4], peer: [u8; 4], seg in prop::collection::vec(any::<u8>(), 20..80),
            port: u16,
        ) {
            let [old, new, peer] = [old, new, peer].map(|a| Addr::v4(u32::from_ne_bytes(a)));
            let (old_port, new_port) = (u16::from_ne_bytes([seg[2], seg[3]]), port);
            let mut new_seg = seg.clone();
            new_seg[2..4].copy_from_slice(&port.to_ne_bytes());
            let ports = [Port::from_be(old_port), Port::from_be(new_port)];

            let tcp = |dst: &Addr, seg: &[u8]| naive(&pseudo(false, &peer, dst, 6, seg, 16));
            let before = tcp(&old, &seg);
            let after = update4(before, old.v4_be(), new.v4_be(), ports[0], ports[1]);
            prop_assert_eq!(after, tcp(&new, &new_seg));

            let udp = |dst: &Addr, seg: &[u8]| mangle(naive(&pseudo(false, &peer, dst, 17, seg, 6)));
            let before = udp(&old, &seg);
            let after = update4_udp(before, old.v4_be(), new.v4_be(), ports[0], ports[1]);
            prop_assert_eq!(after, Some(udp(&new, &new_seg)));

            // Both ends at once, as one difference.
            let d = Delta::addr4(old.v4_be(), new.v4_be()).and(Delta::addr4(peer.v4_be(), old.v4_be()));
            let both = naive(&pseudo(false, &old, &new, 6, &seg, 16));
            prop_assert_eq!(d.apply(tcp(&old, &seg)), both);
        }

        #[test]
        fn update_is_recomputation6(
            old: [u8; 16], new: [u8; 16], peer: [u8; 16],
            seg in prop::collection::vec(any::<u8>(), 20..80), port: u16,
        ) {
            let [old, new, peer] = [old, new, peer].map(Addr::from_bytes16);
            let (old_port, new_port) = (u16::from_ne_bytes([seg[0], seg[1]]), port);
            let mut new_seg = seg.clone();
            new_seg[0..2].copy_from_slice(&port.to_ne_bytes());
            let ports = [Port::from_be(old_port), Port::from_be(new_port)];

            let tcp = |src: &Addr, seg: &[u8]| naive(&pseudo(true, src, &peer, 6, seg, 16));
            let after = update6(tcp(&old, &seg), &old, &new, ports[0], ports[1]);
            prop_assert_eq!(after, tcp(&new, &new_seg));

            let udp = |src: &Addr, seg: &[u8]| mangle(naive(&pseudo(true, src, &peer, 17, seg, 6)));
            let after = update6_udp(udp(&old, &seg), &old, &new, ports[0], ports[1]);
            prop_assert_eq!(after, Some(udp(&new, &new_seg)));
        }

        #[test]
        fn partial_is_the_pseudo_header(
            old: [u8; 16], new: [u8; 16], peer: [u8; 16], len: u16, new_len: u16, proto in 1u8..,
        ) {
            let [old, new, peer] = [old, new, peer].map(Addr::from_bytes16);
            let sum6 = |a: &Addr, len: u16| {
                Sum::ZERO.add_pseudo6(a, &peer, proto, len.into()).fold()
            };
            let sum4 = |a: &Addr, len: u16| {
                Sum::ZERO.add_pseudo4(a.v4_be(), peer.v4_be(), proto, len.into()).fold()
            };
            prop_assert_eq!(partial6(sum6(&old, len), &old, &new), sum6(&new, len));
            let (o, n) = (old.v4_be(), new.v4_be());
            prop_assert_eq!(partial4(sum4(&old, len), o, n), sum4(&new, len));
            let d = Delta::addr4(o, n).and(Delta::len(len, new_len));
            prop_assert_eq!(d.apply_partial(sum4(&old, len)), sum4(&new, new_len));
        }

        #[test]
        fn pseudo_headers_as_bytes(src: [u8; 16], dst: [u8; 16], proto: u8, seg: Vec<u8>) {
            let [src, dst] = [src, dst].map(Addr::from_bytes16);
            let seg = [seg.as_slice(), &[0; 8]].concat();
            let len = seg.len() as u32;
            let sum = Sum::ZERO.add_pseudo6(&src, &dst, proto, len).add_bytes(&seg);
            let bytes = pseudo(true, &src, &dst, proto, &seg, seg.len() - 2);
            prop_assert_eq!(sum.finish(), naive(&bytes));
            let sum = Sum::ZERO.add_pseudo4(src.v4_be(), dst.v4_be(), proto, len).add_bytes(&seg);
            let bytes = pseudo(false, &src, &dst, proto, &seg, seg.len() - 2);
            prop_assert_eq!(sum.finish(), naive(&bytes));
        }

        #[test]
        fn any_values(check: u16, d: [u32; 4], p: [u16; 2]) {
            let ports = p.map(Port::from_be);
            // Also for checksums that are wrong or no canonical representation of 0.
            let new = update4(check, d[0], d[1], ports[0], ports[1]);
            prop_assert_ne!(new, 0xffff);
            let back = update4(new, d[1], d[0], ports[1], ports[0]);
            prop_assert_eq!(back, if check == 0xffff { 0 } else { check });
            prop_assert_ne!(partial4(check, d[0], d[1]), 0);
            let words = Addr::from_words(d);
            let _ = update6(check, &words, &Addr::UNSPECIFIED, ports[0], ports[1]);
        }

        #[test]
        fn header_fields(mut header in prop::collection::vec(any::<u8>(), 20..=60), ttl: u8) {
            let before = ipv4_header(&header);
            prop_assert_eq!(before, {
                let mut zeroed = header.clone();
                zeroed[10..12].fill(0);
                naive(&zeroed)
            });
            let word = |h: &[u8]| u16::from_ne_bytes([h[8], h[9]]);
            let old = word(&header);
            header[8] = ttl;
            // A header that is not all zero, as none is.
            prop_assume!(header[0] != 0);
            prop_assert_eq!(Delta::word16(old, word(&header)).apply(before), ipv4_header(&header));
        }
    }
}
