// SPDX-License-Identifier: GPL-2.0
//! Any bytes, looked at as each header.
#![no_main]
#![forbid(unsafe_code)]

use ipvs_logic::addr::{Addr, Af, Port};
use ipvs_logic::wire::{icmp, ipv4, tcp, udp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut copy = bytes.to_vec();
    if let Ok(p) = ipv4::Packet::new_fixed(bytes) {
        let _ = (p.header(), p.payload(), p.verify(), p.frag_offset());
    }
    if let Ok(mut p) = ipv4::Packet::new_checked(&mut copy) {
        p.set_src(&Addr::v4(1));
        p.set_dst(&Addr::v4(2));
        p.fill_checksum();
        assert!(p.verify());
        if let Ok(repr) = ipv4::Repr::parse(&p) {
            let again = ipv4::Packet::new_checked(repr.emit());
            assert_eq!(again.and_then(|p| ipv4::Repr::parse(&p)), Ok(repr));
        }
    }
    if let Ok(mut p) = tcp::Packet::new_checked(&mut copy) {
        let before = (p.header_len(), p.flags(), p.dst_port());
        p.set_src_port(Port::FTP);
        p.set_checksum(0);
        assert_eq!((p.header_len(), p.flags(), p.dst_port()), before);
        if let (Ok(options), Ok(data)) = (p.options(), p.payload()) {
            assert_eq!(tcp::HEADER_LEN + options.len() + data.len(), bytes.len());
        }
    }
    if let Ok(p) = udp::Packet::new_checked(bytes) {
        assert!(udp::HEADER_LEN + p.payload().len() <= bytes.len());
    }
    if let Ok(mut p) = icmp::Packet::new_checked(&mut copy) {
        let _ = (
            p.is_related_error(Af::Inet),
            p.is_related_error(Af::Inet6),
            p.mtu6(),
        );
        p.set_mtu4(1400);
        p.fill_checksum4();
        assert_eq!(p.mtu4(), 1400);
    }
});
