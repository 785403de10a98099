// SPDX-License-Identifier: GPL-2.0
//! SipHash-1-3 of a few words: the kernel's hsiphash on 64-bit machines.
//!
//! A keyed hash, so that who chooses addresses and ports cannot choose the bucket. C counterpart:
//! lib/siphash.c.

/// A hash key, kept as the initial state it leads to, which saves the setup on each use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SipKey([u64; 4]);

impl SipKey {
    /// Makes a key of 128 random bits.
    #[inline]
    pub const fn new(key: [u64; 2]) -> Self {
        let [k0, k1] = key;
        // "somepseudorandomlygeneratedbytes"
        SipKey([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }
}

#[inline(always)]
fn round(v: &mut [u64; 4]) {
    let [mut a, mut b, mut c, mut d] = *v;
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    *v = [a, b, c, d];
}

#[inline(always)]
fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    v[0] ^= word;
}

/// Hashes `WORDS` 64-bit words and then the `TAIL_LEN` low bytes of `tail`, 0 to 7 of them.
///
/// The result is that of `hsiphash()` over the same bytes, little endian. Bits of `tail` above
/// `TAIL_LEN` bytes must be 0.
#[inline(always)]
pub fn hsiphash_tail<const WORDS: usize, const TAIL_LEN: usize>(
    key: &SipKey,
    words: [u64; WORDS],
    tail: u64,
) -> u32 {
    const { assert!(TAIL_LEN < 8 && WORDS < 32) };
    let mut v = key.0;
    for word in words {
        absorb(&mut v, word);
    }
    // The last block ends with the length of the message.
    let len = (WORDS * 8 + TAIL_LEN) as u64;
    absorb(&mut v, tail | (len << 56));
    v[2] ^= 0xff;
    round(&mut v);
    round(&mut v);
    round(&mut v);
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

/// Hashes `WORDS` 64-bit words, as `hsiphash()` over the same bytes, little endian.
#[inline(always)]
pub fn hsiphash<const WORDS: usize>(key: &SipKey, words: [u64; WORDS]) -> u32 {
    hsiphash_tail::<WORDS, 0>(key, words, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// SipHash-1-3 of any bytes, from its description.
    fn reference(key: [u64; 2], bytes: &[u8]) -> u64 {
        let le = |b: &[u8]| b.iter().rev().fold(0u64, |n, b| (n << 8) | u64::from(*b));
        let s = |i: usize| {
            u64::from_be_bytes(
                b"somepseudorandomlygeneratedbytes"[i..i + 8]
                    .try_into()
                    .unwrap(),
            )
        };
        let (mut v0, mut v1) = (key[0] ^ s(0), key[1] ^ s(8));
        let (mut v2, mut v3) = (key[0] ^ s(16), key[1] ^ s(24));
        macro_rules! sip_round {
            () => {
                v0 = v0.wrapping_add(v1);
                v2 = v2.wrapping_add(v3);
                v1 = v1.rotate_left(13);
                v3 = v3.rotate_left(16);
                v1 ^= v0;
                v3 ^= v2;
                v0 = v0.rotate_left(32);
                v2 = v2.wrapping_add(v1);
                v0 = v0.wrapping_add(v3);
                v1 = v1.rotate_left(17);
                v3 = v3.rotate_left(21);
                v1 ^= v2;
                v3 ^= v0;
                v2 = v2.rotate_left(32);
            };
        }
        let mut blocks: Vec<_> = bytes.chunks_exact(8).map(le).collect();
        let rest = bytes.chunks_exact(8).remainder();
        blocks.push(le(rest) | ((bytes.len() as u64) << 56));
        for m in blocks {
            v3 ^= m;
            sip_round!();
            v0 ^= m;
        }
        v2 ^= 0xff;
        for _ in 0..3 {
            sip_round!();
        }
        v0 ^ v1 ^ v2 ^ v3
    }

    const KEY: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];

    /// Of the bytes 0, 1, 2, … up to each length: lib/tests/siphash_kunit.c.
    #[rustfmt::skip]
    const VECTORS: [u32; 64] = [
        0x050f_c4dc, 0x7d57_ca93, 0x4dc7_d44d, 0xe7dd_f7fb, 0x88d3_8328, 0x4953_3b67, 0xc59f_22a7, 0x9bb1_1140,
        0x8d29_9a8e, 0x6c06_3de4, 0x92ff_097f, 0xf94d_c352, 0x57b4_d9a2, 0x1229_ffa7, 0xc0f9_5d34, 0x2a51_9956,
        0x7d90_8b66, 0x63db_d80c, 0xb473_e63e, 0x8d29_7d1c, 0xa6cc_e040, 0x2b45_f844, 0xa320_872e, 0xdae6_c123,
        0x6734_9c8c, 0x705b_0979, 0xca99_13a5, 0x4ade_3b35, 0xef6c_d00d, 0x4ab1_e1f4, 0x43c5_e663, 0x8c21_d1bc,
        0x16a7_b60d, 0x7a8f_f9bf, 0x1f2a_753e, 0xbf18_6b91, 0xada2_6206, 0xa3c3_3057, 0xae3a_36a1, 0x7b10_8392,
        0x99e4_1531, 0x3f1a_d944, 0xc813_8825, 0xc289_49a6, 0xfaf8_876b, 0x9f04_2196, 0x68b1_d623, 0x8b51_14fd,
        0xdf07_4c46, 0x12cc_86b3, 0x0a52_098f, 0x9d29_2f9a, 0xa2f4_1f12, 0x43a7_1ed0, 0x73f0_bce6, 0x70a7_e980,
        0x243c_6d75, 0xfdb7_1513, 0xa67d_8a08, 0xb7e8_f148, 0xf7a6_44ee, 0x0f18_37f2, 0x4b66_94e0, 0xb7bb_b3a8,
    ];

    fn counting() -> [u64; 8] {
        core::array::from_fn(|i| u64::from_le_bytes(core::array::from_fn(|j| (8 * i + j) as u8)))
    }

    #[test]
    fn reference_is_right() {
        let bytes: Vec<u8> = (0..64).collect();
        for (len, hash) in VECTORS.iter().enumerate() {
            assert_eq!(reference(KEY, &bytes[..len]) as u32, *hash);
        }
    }

    #[test]
    fn kernel_vectors() {
        let key = SipKey::new(KEY);
        let w = counting();
        let tail = |word: u64, len: u32| word & ((1 << (8 * len)) - 1);
        assert_eq!(hsiphash(&key, [w[0]]), VECTORS[8]);
        assert_eq!(hsiphash(&key, [w[0], w[1]]), VECTORS[16]);
        assert_eq!(hsiphash(&key, [w[0], w[1], w[2]]), VECTORS[24]);
        assert_eq!(hsiphash(&key, [w[0], w[1], w[2], w[3]]), VECTORS[32]);
        assert_eq!(hsiphash(&key, [w[0], w[1], w[2], w[3], w[4]]), VECTORS[40]);
        assert_eq!(hsiphash_tail::<0, 5>(&key, [], tail(w[0], 5)), VECTORS[5]);
        assert_eq!(
            hsiphash_tail::<1, 5>(&key, [w[0]], tail(w[1], 5)),
            VECTORS[13]
        );
        assert_eq!(
            hsiphash_tail::<1, 7>(&key, [w[0]], tail(w[1], 7)),
            VECTORS[15]
        );
        assert_eq!(
            hsiphash_tail::<2, 4>(&key, [w[0], w[1]], tail(w[2], 4)),
            VECTORS[20]
        );
    }

    proptest! {
        #[test]
        fn same_as_reference(k: [u64; 2], w: [u64; 5], tail: u32) {
            let key = SipKey::new(k);
            let mut bytes: Vec<u8> = w.iter().flat_map(|w| w.to_le_bytes()).collect();
            prop_assert_eq!(hsiphash(&key, w), reference(k, &bytes) as u32);
            prop_assert_eq!(hsiphash(&key, [w[0]]), reference(k, &bytes[..8]) as u32);
            bytes.extend(tail.to_le_bytes());
            let tail = u64::from(tail);
            prop_assert_eq!(hsiphash_tail::<5, 4>(&key, w, tail), reference(k, &bytes) as u32);
        }
    }
}
