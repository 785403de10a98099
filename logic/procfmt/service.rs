// SPDX-License-Identifier: GPL-2.0
//! `/proc/net/ip_vs`: services and their destinations.
//!
//! C counterpart: `ip_vs_info_seq_show()`, net/netfilter/ipvs/ip_vs_ctl.c.

use super::Line;
use crate::addr::{Af, Endpoint};
use crate::conns::Conns;
use crate::ctl::ServiceKey;
use crate::flags::{ConnFlags, SvcFlags, VERSION_CODE};
use core::fmt;

/// A service as shown.
#[derive(Clone, Copy, Debug)]
pub struct ServiceLine<'a> {
    /// What identifies it.
    pub key: &'a ServiceKey,
    /// Name of its scheduler, `none` without one.
    pub sched: &'a str,
    /// Its flags.
    pub flags: SvcFlags,
    /// Persistence in jiffies.
    pub timeout: u32,
    /// As in [`ServiceConf`](crate::ctl::ServiceConf).
    pub netmask: u32,
}

/// A destination as shown.
#[derive(Clone, Copy, Debug)]
pub struct DestLine {
    /// Address family.
    pub af: Af,
    /// Where it is.
    pub end: Endpoint,
    /// Its flags, for the forwarding method.
    pub flags: ConnFlags,
    /// Its weight.
    pub weight: i32,
    /// How many connections it has.
    pub conns: Conns,
}

/// The version as the socket option `VERSION` gives it; `size` is that of the connection table.
pub fn version<W: fmt::Write + ?Sized>(w: &mut W, size: u32) -> fmt::Result {
    let mut line = Line::<64>::new();
    line.str("IP Virtual Server version ");
    line.dec((VERSION_CODE >> 16) & 0xff);
    line.byte(b'.');
    line.dec((VERSION_CODE >> 8) & 0xff);
    line.byte(b'.');
    line.dec(VERSION_CODE & 0xff);
    line.str(" (size=");
    line.dec(size as i32);
    line.byte(b')');
    line.write_to(w)
}

/// The first three lines.
pub fn info_header<W: fmt::Write + ?Sized>(w: &mut W, size: u32) -> fmt::Result {
    version(w, size)?;
    w.write_str(
        "\nProt LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n",
    )
}

/// The line of a service. One-packet scheduling shows for IPv4 and marks only, as in stock.
pub fn service_line<W: fmt::Write + ?Sized>(w: &mut W, svc: &ServiceLine<'_>) -> fmt::Result {
    let mut line = Line::<160>::new();
    let key = svc.key;
    let ops = if svc.flags.intersects(SvcFlags::ONEPACKET) {
        "ops "
    } else {
        ""
    };
    if key.is_fwmark() {
        line.str("FWM  ");
        line.hex8(key.fwmark);
        line.byte(b' ');
        line.str(svc.sched);
        line.byte(b' ');
        line.str(ops);
    } else {
        line.proto(key.proto, 0);
        line.str("  ");
        if key.af == Af::Inet6 {
            line.byte(b'[');
            line.addr6(&key.addr);
            line.byte(b']');
        } else {
            line.hex8(key.addr.v4_host());
        }
        line.byte(b':');
        line.port(key.port);
        line.byte(b' ');
        line.str(svc.sched);
        line.byte(b' ');
        if key.af == Af::Inet {
            line.str(ops);
            line.byte(b' ');
        }
    }
    if svc.flags.intersects(SvcFlags::PERSISTENT) {
        line.str("persistent ");
        line.dec(svc.timeout as i32);
        line.byte(b' ');
        line.hex8(u32::from_be(svc.netmask));
    }
    line.byte(b'\n');
    line.write_to(w)
}

/// The line of a destination.
pub fn dest_line<W: fmt::Write + ?Sized>(w: &mut W, dest: &DestLine) -> fmt::Result {
    let mut line = Line::<128>::new();
    line.str("  -> ");
    match dest.af {
        Af::Inet => line.hex8(dest.end.addr.v4_host()),
        Af::Inet6 => {
            line.byte(b'[');
            line.addr6(&dest.end.addr);
            line.byte(b']');
        }
    }
    line.byte(b':');
    line.port(dest.end.port);
    line.str("      ");
    line.left(dest.flags.fwd_proc_name(), 7);
    line.byte(b' ');
    line.dec_left(dest.weight.into(), 6);
    line.byte(b' ');
    line.dec_left(dest.conns.active().into(), 10);
    line.byte(b' ');
    line.dec_left(dest.conns.inactive().into(), 10);
    line.byte(b'\n');
    line.write_to(w)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Addr, Port, Proto};
    use crate::flags::FwdMethod;
    use proptest::prelude::*;

    fn a4(a: [u8; 4]) -> Addr {
        Addr::v4(u32::from_ne_bytes(a))
    }

    fn a6(a: &str) -> Addr {
        Addr::from_bytes16(a.parse::<std::net::Ipv6Addr>().unwrap().octets())
    }

    fn show(key: &ServiceKey, sched: &str, flags: SvcFlags, timeout: u32, netmask: u32) -> String {
        let mut s = String::new();
        service_line(
            &mut s,
            &ServiceLine {
                key,
                sched,
                flags,
                timeout,
                netmask,
            },
        )
        .unwrap();
        s
    }

    fn show_dest(af: Af, addr: Addr, flags: ConnFlags, n: [i32; 3]) -> String {
        let mut s = String::new();
        let end = Endpoint::new(addr, Port::from_host(80));
        let [weight, active, total] = n;
        dest_line(
            &mut s,
            &DestLine {
                af,
                end,
                flags,
                weight,
                conns: Conns::new(active, total),
            },
        )
        .unwrap();
        s
    }

    #[test]
    fn header() {
        let mut s = String::new();
        info_header(&mut s, 4096).unwrap();
        assert_eq!(
            s,
            "IP Virtual Server version 1.2.1 (size=4096)\n\
             Prot LocalAddress:Port Scheduler Flags\n\
             \x20 -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
        );
        let mut s = String::new();
        version(&mut s, 0).unwrap();
        assert_eq!(s, "IP Virtual Server version 1.2.1 (size=0)");
    }

    #[test]
    fn services4() {
        let key = ServiceKey::by_addr(Af::Inet, Proto::TCP, a4([10, 0, 0, 1]), Port::from_host(80));
        let f = SvcFlags::HASHED;
        assert_eq!(show(&key, "rr", f, 0, !0), "TCP  0A000001:0050 rr  \n");
        assert_eq!(
            show(&key, "wlc", f | SvcFlags::PERSISTENT, 90000, !0),
            "TCP  0A000001:0050 wlc  persistent 90000 FFFFFFFF\n"
        );
        let key = ServiceKey {
            proto: Proto::UDP.into(),
            ..key
        };
        assert_eq!(
            show(&key, "rr", f | SvcFlags::ONEPACKET, 0, !0),
            "UDP  0A000001:0050 rr ops  \n"
        );
        let mask = u32::from_ne_bytes([255, 255, 255, 0]);
        assert_eq!(
            show(&key, "none", SvcFlags(5), 1, mask),
            "UDP  0A000001:0050 none ops  persistent 1 FFFFFF00\n"
        );
        let key = ServiceKey {
            proto: 300,
            port: Port::ZERO,
            ..key
        };
        assert_eq!(show(&key, "rr", f, 0, !0), "IP_300  0A000001:0000 rr  \n");
    }

    #[test]
    fn services6() {
        let key = ServiceKey::by_addr(
            Af::Inet6,
            Proto::TCP,
            a6("2001:db8::a"),
            Port::from_host(443),
        );
        let all = SvcFlags::PERSISTENT | SvcFlags::ONEPACKET;
        assert_eq!(
            show(&key, "mh", SvcFlags::HASHED, 0, 128),
            "TCP  [2001:0db8:0000:0000:0000:0000:0000:000a]:01BB mh \n"
        );
        // No "ops" here; and the prefix length comes out as if it were a netmask.
        assert_eq!(
            show(&key, "mh", all, 75000, 128),
            "TCP  [2001:0db8:0000:0000:0000:0000:0000:000a]:01BB mh persistent 75000 80000000\n"
        );
    }

    #[test]
    fn marks() {
        for af in [Af::Inet, Af::Inet6] {
            let key = ServiceKey::by_fwmark(af, 0xab);
            let f = SvcFlags::HASHED;
            assert_eq!(show(&key, "sh", f, 0, !0), "FWM  000000AB sh \n");
            assert_eq!(
                show(&key, "sh", f | SvcFlags::ONEPACKET, 0, !0),
                "FWM  000000AB sh ops \n"
            );
            assert_eq!(
                show(&key, "sh", SvcFlags(5), 2_500_000_000, !0),
                "FWM  000000AB sh ops persistent -1794967296 FFFFFFFF\n"
            );
        }
    }

    #[test]
    fn dests() {
        let masq = ConnFlags::INACTIVE;
        assert_eq!(
            show_dest(Af::Inet, a4([10, 0, 0, 2]), masq, [1, 0, 0]),
            "  -> 0A000002:0050      Masq    1      0          0         \n"
        );
        let dr = ConnFlags(3 | 0x180);
        assert_eq!(
            show_dest(Af::Inet, a4([192, 168, 1, 2]), dr, [100, 12, 30]),
            "  -> C0A80102:0050      Route   100    12         18        \n"
        );
        let tun = ConnFlags::NONE.with_fwd(FwdMethod::Tunnel);
        assert_eq!(
            show_dest(Af::Inet6, a6("fd00::2"), tun, [1_234_567, i32::MAX, 0]),
            "  -> [fd00:0000:0000:0000:0000:0000:0000:0002]:0050      \
             Tunnel  1234567 2147483647 0         \n"
        );
        let local = ConnFlags::NONE.with_fwd(FwdMethod::Local);
        assert_eq!(
            show_dest(Af::Inet, a4([127, 0, 0, 1]), local, [0, 1, 1]),
            "  -> 7F000001:0050      Local   0      1          0         \n"
        );
        assert_eq!(
            show_dest(Af::Inet, a4([127, 0, 0, 1]), ConnFlags(7), [0, 0, 1]),
            "  -> 7F000001:0050      Masq    0      0          1         \n"
        );
    }

    proptest! {
        #[test]
        fn dest_as_formatted(addr: [u8; 4], fwd in 0u32..8, weight: i32, active: i32, total: i32) {
            let want = format!(
                "  -> {:08X}:0050      {:<7} {:<6} {:<10} {:<10}\n",
                u32::from_be_bytes(addr),
                ConnFlags(fwd).fwd_proc_name(),
                weight,
                active,
                total.wrapping_sub(active).max(0)
            );
            let got = show_dest(Af::Inet, a4(addr), ConnFlags(fwd), [weight, active, total]);
            prop_assert_eq!(got, want);
        }
    }
}
