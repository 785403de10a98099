// SPDX-License-Identifier: GPL-2.0
//! `/proc/net/ip_vs_conn` and `/proc/net/ip_vs_conn_sync`.
//!
//! C counterpart: `ip_vs_conn_seq_show()`, net/netfilter/ipvs/ip_vs_conn.c.

use super::Line;
use crate::addr::{Af, Endpoint, Proto};
use crate::flags::ConnFlags;
use core::fmt;

/// A connection as shown.
#[derive(Clone, Copy, Debug)]
pub struct ConnLine<'a> {
    /// Address family of client and virtual service.
    pub af: Af,
    /// Address family of the destination.
    pub daf: Af,
    /// Protocol.
    pub proto: Proto,
    /// The client.
    pub client: Endpoint,
    /// The virtual service.
    pub virt: Endpoint,
    /// The destination.
    pub dest: Endpoint,
    /// Name of the state, see [`state_name`](crate::state::state_name).
    pub state: &'a str,
    /// Seconds until it expires, see [`expires_secs`].
    pub expires: u32,
}

/// What a persistence engine adds to a line of `ip_vs_conn`.
#[derive(Clone, Copy, Debug)]
pub struct PeColumns<'a> {
    /// Name of the engine.
    pub name: &'a str,
    /// What it keeps about the connection; shown up to the first NUL and at most 255 bytes.
    pub data: &'a [u8],
}

/// Room for the longest line without the columns of a persistence engine: three IPv6 addresses.
const CONN_LEN: usize = 192;

impl ConnLine<'_> {
    #[inline]
    fn columns(&self, line: &mut Line<CONN_LEN>) {
        line.proto(self.proto.into(), 3);
        for (af, end) in [
            (self.af, &self.client),
            (self.af, &self.virt),
            (self.daf, &self.dest),
        ] {
            line.byte(b' ');
            match af {
                Af::Inet => line.hex8(end.addr.v4_host()),
                Af::Inet6 => line.addr6(&end.addr),
            }
            line.byte(b' ');
            line.port(end.port);
        }
        line.byte(b' ');
        line.left(self.state, 11);
        line.byte(b' ');
    }
}

/// The first line of `ip_vs_conn`.
pub fn conn_header<W: fmt::Write + ?Sized>(w: &mut W) -> fmt::Result {
    w.write_str("Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n")
}

/// A line of `ip_vs_conn`.
pub fn conn_line<W: fmt::Write + ?Sized>(
    w: &mut W,
    conn: &ConnLine<'_>,
    pe: Option<&PeColumns<'_>>,
) -> fmt::Result {
    let mut line = Line::new();
    conn.columns(&mut line);
    line.dec_right(conn.expires.into(), 7);
    let Some(pe) = pe else {
        line.byte(b'\n');
        return line.write_to(w);
    };
    line.write_to(w)?;
    // Name, data, two spaces, newline.
    let mut line = Line::<{ 16 + 255 + 3 }>::new();
    line.byte(b' ');
    line.bytes(pe.name.as_bytes().get(..16).unwrap_or(pe.name.as_bytes()));
    line.byte(b' ');
    let data = pe.data.split(|b| *b == 0).next().unwrap_or_default();
    line.bytes(data.get(..255).unwrap_or(data));
    line.byte(b'\n');
    line.write_to(w)
}

/// The first line of `ip_vs_conn_sync`.
pub fn conn_sync_header<W: fmt::Write + ?Sized>(w: &mut W) -> fmt::Result {
    w.write_str("Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n")
}

/// A line of `ip_vs_conn_sync`.
pub fn conn_sync_line<W: fmt::Write + ?Sized>(
    w: &mut W,
    conn: &ConnLine<'_>,
    flags: ConnFlags,
) -> fmt::Result {
    let mut line = Line::new();
    conn.columns(&mut line);
    line.left(flags.origin_name(), 6);
    line.byte(b' ');
    line.dec_right(conn.expires.into(), 7);
    line.byte(b'\n');
    line.write_to(w)
}

/// Seconds until a connection expires, `delta` jiffies from now; 0 if it should have. The milliseconds
/// on the way have 32 bits, as in C.
#[inline]
pub const fn expires_secs(delta: i64, hz: u32) -> u32 {
    if delta <= 0 || hz == 0 {
        return 0;
    }
    let msecs = if 1000 % hz == 0 {
        (delta as u64).wrapping_mul((1000 / hz) as u64)
    } else {
        (delta as u64).wrapping_mul(1000) / hz as u64
    };
    msecs as u32 / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Addr, Port};
    use proptest::prelude::*;

    fn v4(a: [u8; 4], port: u16) -> Endpoint {
        Endpoint::new(Addr::v4(u32::from_ne_bytes(a)), Port::from_host(port))
    }

    fn v6(a: &str, port: u16) -> Endpoint {
        let a: std::net::Ipv6Addr = a.parse().unwrap();
        Endpoint::new(Addr::from_bytes16(a.octets()), Port::from_host(port))
    }

    fn tcp4() -> ConnLine<'static> {
        ConnLine {
            af: Af::Inet,
            daf: Af::Inet,
            proto: Proto::TCP,
            client: v4([192, 168, 0, 1], 40000),
            virt: v4([10, 0, 0, 254], 80),
            dest: v4([10, 171, 205, 239], 8080),
            state: "ESTABLISHED",
            expires: 899,
        }
    }

    fn line(c: &ConnLine<'_>, pe: Option<&PeColumns<'_>>) -> String {
        let mut s = String::new();
        conn_line(&mut s, c, pe).unwrap();
        s
    }

    fn sync_line(c: &ConnLine<'_>, flags: ConnFlags) -> String {
        let mut s = String::new();
        conn_sync_line(&mut s, c, flags).unwrap();
        s
    }

    #[test]
    fn headers_stand_above_their_columns() {
        let mut h = String::new();
        conn_header(&mut h).unwrap();
        let l = line(&tcp4(), None);
        assert_eq!(
            l,
            "TCP C0A80001 9C40 0A0000FE 0050 0AABCDEF 1F90 ESTABLISHED     899\n"
        );
        for name in ["FromIP", "FPrt", "ToIP", "TPrt", "DestIP", "DPrt", "State"] {
            assert_eq!(l.as_bytes()[h.find(name).unwrap() - 1], b' ');
        }
        let mut h = String::new();
        conn_sync_header(&mut h).unwrap();
        assert_eq!(
            h,
            "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n"
        );
    }

    #[test]
    fn padding() {
        let c = ConnLine {
            proto: Proto::IP,
            state: "NONE",
            expires: 0,
            ..tcp4()
        };
        assert_eq!(
            line(&c, None),
            "IP  C0A80001 9C40 0A0000FE 0050 0AABCDEF 1F90 NONE              0\n"
        );
        let c = ConnLine {
            proto: Proto::UDP,
            state: "UDP",
            expires: 12_345_678,
            ..tcp4()
        };
        assert_eq!(
            line(&c, None),
            "UDP C0A80001 9C40 0A0000FE 0050 0AABCDEF 1F90 UDP         12345678\n"
        );
        let c = ConnLine {
            proto: Proto(50),
            state: "ERR!",
            expires: u32::MAX,
            ..tcp4()
        };
        assert_eq!(
            line(&c, None),
            "IP_50 C0A80001 9C40 0A0000FE 0050 0AABCDEF 1F90 ERR!        4294967295\n"
        );
    }

    #[test]
    fn ipv6() {
        let c = ConnLine {
            af: Af::Inet6,
            daf: Af::Inet6,
            proto: Proto::SCTP,
            client: v6("2001:db8::1", 1),
            virt: v6("fe80::abcd:ef01", 65535),
            dest: v6("::", 0),
            state: "COOKIE_REPLIED",
            expires: 7,
        };
        assert_eq!(
            line(&c, None),
            "SCTP 2001:0db8:0000:0000:0000:0000:0000:0001 0001 \
             fe80:0000:0000:0000:0000:0000:abcd:ef01 FFFF \
             0000:0000:0000:0000:0000:0000:0000:0000 0000 COOKIE_REPLIED       7\n"
        );
        // A tunnel from one family to the other.
        let c = ConnLine {
            daf: Af::Inet,
            dest: v4([1, 2, 3, 4], 5),
            ..c
        };
        assert_eq!(
            sync_line(&c, ConnFlags::SYNC),
            "SCTP 2001:0db8:0000:0000:0000:0000:0000:0001 0001 \
             fe80:0000:0000:0000:0000:0000:abcd:ef01 FFFF \
             01020304 0005 COOKIE_REPLIED SYNC         7\n"
        );
    }

    #[test]
    fn origin() {
        assert_eq!(
            sync_line(&tcp4(), ConnFlags::NONE),
            "TCP C0A80001 9C40 0A0000FE 0050 0AABCDEF 1F90 ESTABLISHED LOCAL      899\n"
        );
        assert_eq!(
            sync_line(&tcp4(), ConnFlags::SYNC | ConnFlags::HASHED),
            "TCP C0A80001 9C40 0A0000FE 0050 0AABCDEF 1F90 ESTABLISHED SYNC       899\n"
        );
    }

    #[test]
    fn persistence_engine() {
        let pe = |data| PeColumns { name: "sip", data };
        let head = "TCP C0A80001 9C40 0A0000FE 0050 0AABCDEF 1F90 ESTABLISHED     899";
        let l = line(&tcp4(), Some(&pe(b"a84b4c76e66710@pc33")));
        assert_eq!(l, format!("{head} sip a84b4c76e66710@pc33\n"));
        assert_eq!(line(&tcp4(), Some(&pe(b""))), format!("{head} sip \n"));
        assert_eq!(
            line(&tcp4(), Some(&pe(b"ab\0cd"))),
            format!("{head} sip ab\n")
        );
        assert_eq!(
            line(&tcp4(), Some(&pe(b"a\xffb"))),
            format!("{head} sip a?b\n")
        );
        let long = [b'x'; 300];
        let shown = "x".repeat(255);
        assert_eq!(
            line(&tcp4(), Some(&pe(&long))),
            format!("{head} sip {shown}\n")
        );
    }

    #[test]
    fn expiry() {
        assert_eq!(expires_secs(250 * 899 + 249, 250), 899);
        assert_eq!(expires_secs(0, 250), 0);
        assert_eq!(expires_secs(-5, 250), 0);
        assert_eq!(expires_secs(i64::MIN, 250), 0);
        assert_eq!(expires_secs(300 * 60, 300), 60);
        assert_eq!(expires_secs(1, 0), 0);
        // 2^31 - 1 jiffies of 4 ms do not fit in 32 bits of milliseconds.
        assert_eq!(expires_secs(i64::from(i32::MAX), 250), 4_294_967);
    }

    proptest! {
        #[test]
        fn same_as_formatted(c: [u8; 4], v: [u8; 4], d: [u8; 4], p: [u16; 3], proto: u8, exp: u32) {
            let conn = ConnLine {
                proto: Proto(proto),
                client: v4(c, p[0]),
                virt: v4(v, p[1]),
                dest: v4(d, p[2]),
                expires: exp,
                ..tcp4()
            };
            let n = |a: [u8; 4]| u32::from_be_bytes(a);
            let want = format!(
                "{:<3} {:08X} {:04X} {:08X} {:04X} {:08X} {:04X} {:<11} {:>7}\n",
                Proto(proto).to_string(), n(c), p[0], n(v), p[1], n(d), p[2], "ESTABLISHED", exp
            );
            prop_assert_eq!(line(&conn, None), want);
        }

        #[test]
        fn same_as_formatted6(a: [u8; 16], p: u16) {
            let end = Endpoint::new(Addr::from_bytes16(a), Port::from_host(p));
            let conn = ConnLine { af: Af::Inet6, client: end, ..tcp4() };
            let hex: Vec<_> =
                a.chunks(2).map(|c| format!("{:02x}{:02x}", c[0], c[1])).collect();
            let want = format!("TCP {} {:04X} ", hex.join(":"), p);
            let got = line(&conn, None);
            prop_assert!(got.starts_with(&want), "{}", got);
        }
    }
}
