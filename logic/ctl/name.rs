// SPDX-License-Identifier: GPL-2.0
//! Names of schedulers, persistence engines and interfaces.
//!
//! C counterpart: the name fields of include/uapi/linux/ip_vs.h.

use super::{CtlError, Result};
use core::fmt;

/// Bytes of a name in the structures of user space, the NUL included.
pub const NAME_LEN: usize = 16;
/// Greatest length of a scheduler's name.
pub const SCHED_NAME_MAX: usize = 15;
/// Greatest length of a persistence engine's name that netlink lets pass. No engine's is that long.
pub const PE_NAME_MAX: usize = 16;
/// Greatest length of an interface's name.
pub const IFNAME_MAX: usize = 15;

/// A name of up to 16 bytes, of a scheduler, a persistence engine or an interface. Whatever bytes
/// user space sent, NUL excepted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Name {
    bytes: [u8; NAME_LEN],
    len: u8,
}

impl Name {
    /// The empty name.
    pub const EMPTY: Name = Name {
        bytes: [0; NAME_LEN],
        len: 0,
    };

    /// A name from its bytes; `EINVAL` if longer than `max` or with a NUL in it.
    pub fn new(name: &[u8], max: usize) -> Result<Name> {
        if name.len() > max.min(NAME_LEN) || name.contains(&0) {
            return Err(CtlError::Inval);
        }
        let mut bytes = [0; NAME_LEN];
        for (to, from) in bytes.iter_mut().zip(name) {
            *to = *from;
        }
        Ok(Name {
            bytes,
            len: name.len() as u8,
        })
    }

    /// A name from a netlink attribute of type `NLA_NUL_STRING` and the length limit `max`: `EINVAL`
    /// unless there is a NUL in its first `max + 1` bytes and at most `max` bytes, not counting a NUL
    /// at the very end, in all.
    pub fn from_attr(data: &[u8], max: usize) -> Result<Name> {
        let end = data.iter().position(|b| *b == 0).ok_or(CtlError::Inval)?;
        let len = match data.split_last() {
            Some((0, rest)) => rest.len(),
            _ => data.len(),
        };
        if end > max || len > max {
            return Err(CtlError::Inval);
        }
        Name::new(data.get(..end).unwrap_or_default(), max)
    }

    /// A name from a structure of the socket options; `EINVAL` without a NUL.
    pub fn from_field(field: &[u8; NAME_LEN]) -> Result<Name> {
        let end = field.iter().position(|b| *b == 0).ok_or(CtlError::Inval)?;
        Name::new(field.get(..end).unwrap_or_default(), SCHED_NAME_MAX)
    }

    /// The bytes without the NUL.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// As text, `None` if it is not UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        core::str::from_utf8(self.as_bytes()).ok()
    }

    /// The bytes filled up with NUL; of a name of 16 bytes the last is cut off, as `strscpy()` does.
    pub fn to_field(&self) -> [u8; NAME_LEN] {
        let mut field = self.bytes;
        if let Some(last) = field.last_mut() {
            *last = 0;
        }
        field
    }

    /// Whether the name is empty.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it is `none`: a service without a scheduler.
    #[inline]
    pub fn is_none(&self) -> bool {
        self.as_bytes() == b"none"
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_bytes().escape_ascii(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        let n = Name::new(b"wlc", SCHED_NAME_MAX).unwrap();
        assert_eq!((n.as_bytes(), n.as_str()), (b"wlc".as_slice(), Some("wlc")));
        assert_eq!(n.to_field(), *b"wlc\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert!(!n.is_empty() && !n.is_none() && Name::EMPTY.is_empty());
        assert!(Name::new(b"none", 15).unwrap().is_none());
        assert!(!Name::new(b"none2", 15).unwrap().is_none());
        assert_eq!(Name::new(b"a\0b", 15), Err(CtlError::Inval));
        assert_eq!(Name::new(b"\xff", 15).unwrap().as_str(), None);
        assert_eq!(format!("{n:?}"), "wlc");
    }

    #[test]
    fn names_from_structures() {
        assert_eq!(Name::from_field(&[b'x'; 16]), Err(CtlError::Inval));
        let mut f = [b'x'; 16];
        f[15] = 0;
        assert_eq!(Name::from_field(&f).unwrap().as_bytes(), [b'x'; 15]);
        // What follows the NUL is not looked at.
        f[2] = 0;
        assert_eq!(Name::from_field(&f).unwrap().as_bytes(), b"xx");
        f[0] = 0;
        assert_eq!(Name::from_field(&f), Ok(Name::EMPTY));
    }

    #[test]
    fn names_from_attributes() {
        let name = |data: &[u8], max| Name::from_attr(data, max).map(|n| n.as_bytes().to_vec());
        assert_eq!(name(b"rr\0", 15), Ok(b"rr".to_vec()));
        assert_eq!(name(b"\0", 15), Ok(vec![]));
        assert_eq!(name(b"", 15), Err(CtlError::Inval));
        assert_eq!(name(b"rr", 15), Err(CtlError::Inval));
        assert_eq!(
            name(b"0123456789abcde\0", 15),
            Ok(b"0123456789abcde".to_vec())
        );
        assert_eq!(name(b"0123456789abcdef\0", 15), Err(CtlError::Inval));
        assert_eq!(
            name(b"0123456789abcdef\0", PE_NAME_MAX),
            Ok(b"0123456789abcdef".to_vec())
        );
        assert_eq!(
            name(b"0123456789abcdefg\0", PE_NAME_MAX),
            Err(CtlError::Inval)
        );
        // Bytes after the NUL count towards the length.
        assert_eq!(name(b"rr\0xyz", 15), Ok(b"rr".to_vec()));
        assert_eq!(name(b"rr\0xyz\0", 6), Ok(b"rr".to_vec()));
        assert_eq!(name(b"rr\0xyz\0", 5), Err(CtlError::Inval));
        assert_eq!(
            Name::from_attr(b"0123456789abcdef\0", 16)
                .unwrap()
                .to_field()[15],
            0
        );
    }

    proptest! {
        #[test]
        fn any_name(data in prop::collection::vec(0u8..4, 0..24), max in 0usize..40) {
            if let Ok(n) = Name::from_attr(&data, max) {
                prop_assert!(n.as_bytes().len() <= max);
                prop_assert!(data.starts_with(n.as_bytes()));
                prop_assert_eq!(Name::new(n.as_bytes(), 16), Ok(n));
            }
            if let Ok(n) = Name::new(&data, max) {
                prop_assert_eq!(n.as_bytes(), data.as_slice());
                if data.len() < NAME_LEN {
                    prop_assert_eq!(Name::from_field(&n.to_field()), Ok(n));
                }
            }
        }
    }
}
