// SPDX-License-Identifier: GPL-2.0
//! The chain of headers between an IPv6 header and the transport header.
//!
//! C counterpart: `ipv6_find_hdr()`, net/ipv6/exthdrs_core.c

use crate::addr::Proto;

/// Hop-by-hop options.
const HOP: u8 = 0;
/// Routing.
const ROUTING: u8 = 43;
/// Fragment.
const FRAGMENT: u8 = 44;
/// Authentication.
const AUTH: u8 = 51;
/// Options for the destination.
const DEST: u8 = 60;

/// More headers than this are not looked through (`IP6_MAX_EXT_HDRS_CNT`).
const MAX_HEADERS: u8 = 12;

/// Whether a packet goes on with an extension header: "nothing follows", 59, is none.
#[inline]
pub const fn is_extension(kind: u8) -> bool {
    matches!(kind, HOP | ROUTING | FRAGMENT | AUTH | DEST)
}

/// A place in the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chain {
    /// Protocol of the header there.
    pub kind: u8,
    /// Where it starts.
    pub at: u32,
    /// A fragment header was passed.
    pub is_fragment: bool,
    /// Offset of the part in the datagram is not 0: what is at `at` is no header.
    pub is_later_fragment: bool,
    passed: u8,
}

impl Chain {
    /// Behind an IPv6 header.
    #[inline]
    pub const fn new(kind: u8, at: u32) -> Self {
        Chain {
            kind,
            at,
            is_fragment: false,
            is_later_fragment: false,
            passed: 0,
        }
    }

    /// Whether this is no extension header: the chain ends here.
    #[inline]
    pub const fn is_end(&self) -> bool {
        self.is_later_fragment || !is_extension(self.kind)
    }

    /// The protocol.
    #[inline]
    pub const fn proto(&self) -> Proto {
        Proto(self.kind)
    }

    /// How many bytes must be there of the extension header to pass it: 2, 4.
    pub const fn needs(&self) -> u32 {
        match self.kind {
            ROUTING | FRAGMENT => 4,
            _ => 2,
        }
    }

    /// What follows the extension header that starts with `header` (of which [`Self::needs`] bytes
    /// count), in a packet of `len` bytes; `None` if that is not to be understood.
    pub fn next(&self, header: [u8; 4], len: u32) -> Option<Self> {
        if self.passed >= MAX_HEADERS {
            return None;
        }
        let [kind, words, f0, f1] = header;
        let words = u32::from(words);
        let mut next = Chain {
            kind,
            passed: self.passed.wrapping_add(1),
            ..*self
        };
        let size = match self.kind {
            FRAGMENT => {
                next.is_fragment = true;
                if u16::from_be_bytes([f0, f1]) & !7 != 0 {
                    next.is_later_fragment = true;
                    return (!is_extension(kind)).then_some(next);
                }
                8
            }
            AUTH => words.wrapping_add(2) << 2,
            _ => words.wrapping_add(1) << 3,
        };
        if len.saturating_sub(self.at) < size {
            return None;
        }
        next.at = self.at.checked_add(size)?;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn walk(kind: u8, bytes: &[u8]) -> Option<Chain> {
        let mut c = Chain::new(kind, 0);
        while !c.is_end() {
            let mut h = [0; 4];
            let n = c.needs() as usize;
            h[..n].copy_from_slice(bytes.get(c.at as usize..)?.get(..n)?);
            c = c.next(h, bytes.len() as u32)?;
        }
        Some(c)
    }

    #[test]
    fn no_extension() {
        let c = walk(6, &[]).unwrap();
        assert_eq!((c.proto(), c.at, c.is_fragment), (Proto::TCP, 0, false));
        assert_eq!(walk(59, &[]).unwrap().proto(), Proto(59));
    }

    #[test]
    fn lengths() {
        let mut b = vec![DEST, 0, 0, 0, 0, 0, 0, 0];
        b.extend([AUTH, 1].into_iter().chain([0; 14]));
        b.extend([17, 4].into_iter().chain([0; 22]));
        let c = walk(HOP, &b).unwrap();
        assert_eq!((c.proto(), c.at), (Proto::UDP, 8 + 16 + 24));
        // One byte less, and the last header is cut.
        assert_eq!(walk(HOP, &b[..b.len() - 1]), None);
        assert_eq!(walk(ROUTING, &[6, 0]), None);
    }

    #[test]
    fn fragments() {
        let first = walk(FRAGMENT, &[17, 0, 0, 1, 0, 0, 0, 0]).unwrap();
        assert!(first.is_fragment && !first.is_later_fragment && first.at == 8);
        let later = walk(FRAGMENT, &[17, 0, 0, 8]).unwrap();
        assert!(later.is_later_fragment && later.proto() == Proto::UDP);
        // An offset of 0 with reserved bits is the first one.
        assert!(
            !walk(FRAGMENT, &[17, 0, 0, 6, 0, 0, 0, 0])
                .unwrap()
                .is_later_fragment
        );
        // Of a later part the header behind cannot be read.
        assert_eq!(walk(FRAGMENT, &[DEST, 0, 0, 8, 0, 0, 0, 0]), None);
    }

    #[test]
    fn many() {
        let chain = |n: usize| {
            let mut b = Vec::new();
            for i in 0..n {
                b.extend([if i + 1 == n { 6 } else { DEST }, 0, 0, 0, 0, 0, 0, 0]);
            }
            walk(DEST, &b)
        };
        assert_eq!(chain(12).unwrap().at, 96);
        assert_eq!(chain(13), None);
    }

    proptest! {
        #[test]
        fn ends(kind: u8, bytes: Vec<u8>) {
            if let Some(c) = walk(kind, &bytes) {
                prop_assert!(c.at as usize <= bytes.len() && c.is_end());
            }
        }
    }
}
