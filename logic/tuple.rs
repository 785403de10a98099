// SPDX-License-Identifier: GPL-2.0
//! Tuples of connections, and the hashes of what is looked up.
//!
//! C counterpart: `struct ip_vs_conn_param` and `ip_vs_rht_hash_linfo()`, include/net/ip_vs.h.

use crate::addr::{Addr, Af, Endpoint, Port, Proto};
use crate::siphash::{hsiphash, hsiphash_tail, SipKey};

/// What identifies a connection in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tuple {
    /// Address family of both endpoints.
    pub af: Af,
    /// Transport protocol.
    pub proto: Proto,
    /// Where the packet comes from.
    pub src: Endpoint,
    /// Where the packet goes to.
    pub dst: Endpoint,
}

impl Tuple {
    /// The tuple of packets in the other direction.
    #[inline]
    pub const fn swapped(&self) -> Tuple {
        Tuple {
            af: self.af,
            proto: self.proto,
            src: self.dst,
            dst: self.src,
        }
    }

    /// Keyed hash of the protocol and the unordered pair of endpoints: a tuple and its swapped twin
    /// have the same hash, so that one bucket serves both directions.
    ///
    /// SipHash-1-3 of 13 bytes for IPv4 and of 37 for IPv6; the different lengths keep the families
    /// apart.
    #[inline(always)]
    pub fn hash(&self, key: &SipKey) -> u32 {
        let proto = u64::from(self.proto.0) << 32;
        match self.af {
            Af::Inet => {
                let (a, b) = (self.src.pack4(), self.dst.pack4());
                let (lo, hi) = if a <= b { (a, b) } else { (b, a) };
                // 48 bits each: the top 16 bits of the word take the low 16 of the greater one.
                hsiphash_tail::<1, 5>(key, [lo | (hi << 48)], (hi >> 16) | proto)
            }
            Af::Inet6 => {
                let (a, b) = (&self.src, &self.dst);
                let (ah, bh) = (a.addr.halves(), b.addr.halves());
                let (lo, hi, lp, hp) = if (ah, a.port) <= (bh, b.port) {
                    (ah, bh, a.port, b.port)
                } else {
                    (bh, ah, b.port, a.port)
                };
                let ports = u64::from(lp.be()) | (u64::from(hp.be()) << 16);
                hash6(key, lo, hi, ports | proto)
            }
        }
    }
}

/// Out of line, and given values, not the tuple: for IPv4 that may stay in registers.
#[inline(never)]
fn hash6(key: &SipKey, lo: (u64, u64), hi: (u64, u64), tail: u64) -> u32 {
    hsiphash_tail::<4, 5>(key, [lo.0, lo.1, hi.0, hi.1], tail)
}

/// Keyed hash of a service found by protocol, address and port.
#[inline]
pub fn service_hash(key: &SipKey, af: Af, proto: impl Into<u16>, addr: &Addr, port: Port) -> u32 {
    let proto = u64::from(proto.into());
    let port = u64::from(port.be());
    match af {
        Af::Inet => hsiphash(
            key,
            [(u64::from(addr.v4_be()) << 32) | (port << 16) | proto],
        ),
        Af::Inet6 => {
            let (a, b) = addr.halves();
            hsiphash_tail::<2, 4>(key, [a, b], (port << 16) | proto)
        }
    }
}

/// Keyed hash of a service found by firewall mark.
#[inline]
pub fn fwmark_hash(key: &SipKey, af: Af, fwmark: u32) -> u32 {
    hsiphash_tail::<0, 5>(key, [], u64::from(fwmark) | (u64::from(af.num()) << 32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addr(af: Af, bytes: [u8; 16]) -> Addr {
        Addr::from_attr(af, &bytes)
    }

    fn tuple(six: bool, proto: u8, a: [u8; 16], b: [u8; 16], p: [u16; 2]) -> Tuple {
        let af = if six { Af::Inet6 } else { Af::Inet };
        Tuple {
            af,
            proto: Proto(proto),
            src: Endpoint::new(addr(af, a), Port::from_host(p[0])),
            dst: Endpoint::new(addr(af, b), Port::from_host(p[1])),
        }
    }

    const KEY: SipKey = SipKey::new([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);

    #[test]
    fn hashes_keep_things_apart() {
        let a = Addr::v4(1);
        let mut hashes = vec![
            service_hash(&KEY, Af::Inet, Proto::TCP, &a, Port::from_be(1)),
            service_hash(&KEY, Af::Inet, Proto::UDP, &a, Port::from_be(1)),
            service_hash(&KEY, Af::Inet, Proto::TCP, &a, Port::from_be(2)),
            service_hash(&KEY, Af::Inet, Proto::TCP, &Addr::v4(2), Port::from_be(1)),
            service_hash(&KEY, Af::Inet6, Proto::TCP, &a, Port::from_be(1)),
            fwmark_hash(&KEY, Af::Inet, 1),
            fwmark_hash(&KEY, Af::Inet, 2),
            fwmark_hash(&KEY, Af::Inet6, 1),
        ];
        let (n, six) = (hashes.len(), [0; 16]);
        hashes.push(tuple(false, 6, six, six, [1, 2]).hash(&KEY));
        hashes.push(tuple(true, 6, six, six, [1, 2]).hash(&KEY));
        hashes.push(tuple(false, 17, six, six, [1, 2]).hash(&KEY));
        hashes.push(tuple(true, 17, six, six, [1, 2]).hash(&KEY));
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), n + 4);
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes long")]
    fn buckets_fill_evenly() {
        // What a load generator does: one server, one client, ports counting up.
        let mut buckets = vec![0u32; 1024];
        for port in 1024..1024 + 16 * 1024 {
            let (c, v) = ([10, 0, 0, 1], [10, 0, 0, 2]);
            let mut t = tuple(false, 17, [0; 16], [0; 16], [port, 80]);
            t.src.addr = Addr::v4(u32::from_ne_bytes(c));
            t.dst.addr = Addr::v4(u32::from_ne_bytes(v));
            buckets[t.hash(&KEY) as usize % 1024] += 1;
        }
        // 16 on average, with a standard deviation of 4.
        assert!(
            buckets.iter().all(|n| *n < 16 + 6 * 4),
            "{:?}",
            buckets.iter().max()
        );
        assert!(buckets.iter().filter(|n| **n == 0).count() < 5);
    }

    proptest! {
        #[test]
        fn both_directions_hash_alike(
            six: bool, proto: u8, a: [u8; 16], b: [u8; 16], p: [u16; 2], k: [u64; 2], same: bool,
        ) {
            let b = if same { a } else { b };
            let t = tuple(six, proto, a, b, p);
            let key = SipKey::new(k);
            prop_assert_eq!(t.hash(&key), t.swapped().hash(&key));
            prop_assert_eq!(t.swapped().swapped(), t);
        }

        #[test]
        fn each_part_counts(
            six: bool, proto: u8, a: [u8; 16], b: [u8; 16], p: [u16; 2], bit in 0u32..48,
        ) {
            let t = tuple(six, proto, a, b, p);
            let mut u = t;
            let flip16 = 1u16 << (bit % 16);
            match bit / 16 {
                0 => u.src.port = Port::from_be(t.src.port.be() ^ flip16),
                1 => u.dst.port = Port::from_be(t.dst.port.be() ^ flip16),
                _ => u.proto = Proto(t.proto.0 ^ (1 << (bit % 8))),
            }
            let mut words = *t.src.addr.words();
            words[if six { bit as usize % 4 } else { 0 }] ^= 1 << (bit % 32);
            let mut v = t;
            v.src.addr = Addr::from_words(words);
            prop_assume!(u != t.swapped() && v != t.swapped());
            // Equal once in 2^32.
            prop_assert_ne!(t.hash(&KEY), u.hash(&KEY));
            prop_assert_ne!(t.hash(&KEY), v.hash(&KEY));
        }
    }
}
