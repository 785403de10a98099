// SPDX-License-Identifier: GPL-2.0
//! Updates of a checksum against computing it anew.
//!
//! Input: a byte that chooses family and port, old and new address, then a segment.
#![no_main]
#![forbid(unsafe_code)]

use ipvs_logic::addr::{Addr, Port};
use ipvs_logic::checksum::{
    ipv4_header, partial4, partial6, update4, update4_udp, update6, update6_udp, Delta, Sum,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[mode], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let Some((old, rest)) = rest.split_first_chunk() else {
        return;
    };
    let Some((new, rest)) = rest.split_first_chunk() else {
        return;
    };
    let Some((&port, segment)) = rest.split_first_chunk() else {
        return;
    };
    if segment.len() < 4 {
        return;
    }
    let (old, new) = (Addr::from_bytes16(*old), Addr::from_bytes16(*new));
    let (six, at) = (mode & 1 != 0, usize::from(mode & 2));
    let len = segment.len() as u32;

    let mut changed = segment.to_vec();
    let old_port = Port::from_be(u16::from_ne_bytes([segment[at], segment[at + 1]]));
    changed[at..at + 2].copy_from_slice(&port);
    let port = Port::from_be(u16::from_ne_bytes(port));

    let pseudo = |addr: &Addr| {
        if six {
            Sum::ZERO.add_pseudo6(addr, &old, 6, len)
        } else {
            Sum::ZERO.add_pseudo4(addr.v4_be(), 0, 6, len)
        }
    };
    let check = pseudo(&old).add_bytes(segment).finish();
    let want = pseudo(&new).add_bytes(&changed);
    let (o, n) = (old.v4_be(), new.v4_be());
    let (got, got_udp, partial, delta) = if six {
        (
            update6(check, &old, &new, old_port, port),
            update6_udp(check, &old, &new, old_port, port),
            partial6(pseudo(&old).fold(), &old, &new),
            Delta::endpoint6(&old, &new, old_port, port),
        )
    } else {
        (
            update4(check, o, n, old_port, port),
            update4_udp(check, o, n, old_port, port),
            partial4(pseudo(&old).fold(), o, n),
            Delta::endpoint4(o, n, old_port, port),
        )
    };
    assert_eq!(got, want.finish());
    assert_eq!(delta.apply(check), got);
    assert_eq!(got_udp, (check != 0).then(|| want.finish_udp()));
    assert_eq!(partial, pseudo(&new).fold());
    let _ = ipv4_header(segment);
});
