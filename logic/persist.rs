// SPDX-License-Identifier: GPL-2.0
//! Which clients a persistence template stands for, and where it leads.
//!
//! C counterpart: `ip_vs_sched_persist()`, net/netfilter/ipvs/ip_vs_core.c.

use crate::addr::{Addr, Endpoint, Port, Proto};
use crate::ctl::ServiceKey;
use crate::tuple::Tuple;

/// What the template for a request is found by. The client is its network and has no port.
///
/// A service with a mark has one template for all it gets, of protocol IP and with the mark as
/// address; FTP and services for all ports have one without a port.
pub fn template_key(service: &ServiceKey, netmask: u32, request: &Tuple) -> Tuple {
    let client = request.src.addr.masked(request.af, netmask);
    let (mut proto, mut addr, mut port) = (request.proto, request.dst.addr, Port::ZERO);
    if request.dst.port == service.port {
        if service.port != Port::FTP {
            port = request.dst.port;
        }
    } else if service.is_fwmark() {
        proto = Proto::IP;
        addr = Addr::v4(service.fwmark.to_be());
    }
    Tuple {
        af: request.af,
        proto,
        src: Endpoint::new(client, Port::ZERO),
        dst: Endpoint::new(addr, port),
    }
}

/// The port that a template shows for a server with this port: 0 if it stands for many.
pub fn template_port(service: &ServiceKey, request: &Tuple, server: Port) -> Port {
    if request.dst.port == service.port && service.port != Port::FTP {
        server
    } else {
        Port::ZERO
    }
}

/// The port that a request goes to at a server with this port; one without takes all.
pub fn server_port(service: &ServiceKey, request: &Tuple, server: Port) -> Port {
    if request.dst.port == service.port && !server.is_zero() {
        server
    } else {
        request.dst.port
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Af;
    use proptest::prelude::*;

    fn request(six: bool, src: [u8; 16], dst: [u8; 16], ports: [u16; 2]) -> Tuple {
        let af = if six { Af::Inet6 } else { Af::Inet };
        Tuple {
            af,
            proto: Proto::TCP,
            src: Endpoint::new(Addr::from_attr(af, &src), Port::from_host(ports[0])),
            dst: Endpoint::new(Addr::from_attr(af, &dst), Port::from_host(ports[1])),
        }
    }

    fn at(r: &Tuple, port: u16) -> ServiceKey {
        ServiceKey::by_addr(r.af, r.proto, r.dst.addr, Port::from_host(port))
    }

    #[test]
    fn kinds_of_services() {
        let r = request(
            false,
            [10, 9, 0, 77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [9; 16],
            [1, 80],
        );
        let mask = 0xffff_ff00_u32.to_be();
        let server = Port::from_host(8000);
        let net = Addr::v4(0x0a09_0000_u32.to_be());
        let same = at(&r, 80);
        let key = template_key(&same, mask, &r);
        assert_eq!(key.src, Endpoint::new(net, Port::ZERO));
        assert_eq!((key.proto, key.dst), (Proto::TCP, r.dst));
        assert_eq!(template_port(&same, &r, server), server);
        assert_eq!(server_port(&same, &r, server), server);
        // All ports: each request keeps its own.
        let all = at(&r, 0);
        assert_eq!(
            template_key(&all, mask, &r).dst,
            Endpoint::new(r.dst.addr, Port::ZERO)
        );
        assert_eq!(template_port(&all, &r, server), Port::ZERO);
        assert_eq!(server_port(&all, &r, server), r.dst.port);
        // FTP: control and data connections share one.
        let control = request(false, [1; 16], [9; 16], [1, 21]);
        let data = request(false, [1; 16], [9; 16], [2, 5000]);
        let ftp = at(&r, 21);
        assert_eq!(
            template_key(&ftp, !0, &control),
            template_key(&ftp, !0, &data)
        );
        assert_eq!(template_port(&ftp, &control, server), Port::ZERO);
        assert_eq!(server_port(&ftp, &control, server), server);
        assert_eq!(server_port(&ftp, &data, server), data.dst.port);
        // Mark: protocol, address and port do not matter.
        let mark = ServiceKey::by_fwmark(Af::Inet, 0x0102_0304);
        let mut other = request(false, [1; 16], [8; 16], [3, 99]);
        other.proto = Proto::UDP;
        let key = template_key(&mark, !0, &data);
        assert_eq!(key, template_key(&mark, !0, &other));
        assert_eq!((key.proto, key.dst.port), (Proto::IP, Port::ZERO));
        assert_eq!(key.dst.addr.v4_host(), 0x0102_0304);
    }

    proptest! {
        #[test]
        fn clients_of_a_network_share_a_template(
            six: bool, src: [u8; 16], other: [u8; 16], dst: [u8; 16], ports: [u16; 2], len in 1u32..=128,
        ) {
            let len = if six { len } else { len % 32 + 1 };
            let mask = if six { len } else { (!0u32 << (32 - len)).to_be() };
            let r = request(six, src, dst, ports);
            let service = at(&r, ports[1]);
            let key = template_key(&service, mask, &r);
            // The first `len` bits of one, the others of another client.
            let mut mixed = src;
            for bit in len as usize..if six { 128 } else { 32 } {
                let b = 0x80 >> (bit % 8);
                mixed[bit / 8] = mixed[bit / 8] & !b | other[bit / 8] & b;
            }
            let near = template_key(&service, mask, &request(six, mixed, dst, ports));
            prop_assert_eq!(key, near);
            let mut far = src;
            far[(len as usize - 1) / 8] ^= 0x80 >> ((len - 1) % 8);
            let far = template_key(&service, mask, &request(six, far, dst, ports));
            prop_assert_ne!(key, far);
            prop_assert!(key.src.port.is_zero());
        }
    }
}
