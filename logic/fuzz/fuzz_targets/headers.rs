// SPDX-License-Identifier: GPL-2.0
//! Any bytes, looked at as what follows an IPv6 header, and as headers of tunnels.
#![no_main]
#![forbid(unsafe_code)]

use ipvs_logic::ipv6::Chain;
use ipvs_logic::tunnel::{gre_to_packet, gue_to_packet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let read = |at: u32| Some(*bytes.get(at as usize..)?.first_chunk::<4>()?);
    let mut chain = Chain::new(*kind, 0);
    let mut passed = 0;
    while !chain.is_end() {
        let len = bytes.len() as u32;
        let Some(next) = read(chain.at).and_then(|header| chain.next(header, len)) else {
            break;
        };
        assert!(chain.at <= next.at && next.at <= len);
        chain = next;
        passed += 1;
    }
    assert!(passed <= 12);
    if let Some(header) = read(0) {
        assert!(gue_to_packet(header).is_none_or(|len| len >= 12 && len % 4 == 0));
        assert!(gre_to_packet(header).is_none_or(|len| len == 4 || len == 8));
    }
});
