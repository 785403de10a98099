// SPDX-License-Identifier: GPL-2.0
//! `/proc/net/ip_vs_stats` and `/proc/net/ip_vs_stats_percpu`.
//!
//! C counterparts: `ip_vs_stats_show()` and `ip_vs_stats_percpu_show()`,
//! net/netfilter/ipvs/ip_vs_ctl.c.

use super::Line;
use crate::stats::{Counters, Rates, Stats};
use core::fmt;

/// Three columns of 8 digits and two of 16, which longer numbers push apart.
const LEN: usize = 5 * 17 + 8;

fn columns(line: &mut Line<LEN>, values: [u64; 5]) {
    for (i, v) in values.into_iter().enumerate() {
        if i > 0 {
            line.byte(b' ');
        }
        line.hex_right(v, if i < 3 { 8 } else { 16 });
    }
    line.byte(b'\n');
}

fn counts(c: &Counters) -> [u64; 5] {
    [c.conns, c.inpkts, c.outpkts, c.inbytes, c.outbytes]
}

fn rates(r: &Rates) -> [u64; 5] {
    [r.cps, r.inpps, r.outpps, r.inbps, r.outbps]
}

/// All of `ip_vs_stats`.
pub fn stats_file<W: fmt::Write + ?Sized>(w: &mut W, stats: &Stats) -> fmt::Result {
    w.write_str(
        "   Total Incoming Outgoing         Incoming         Outgoing\n   \
         Conns  Packets  Packets            Bytes            Bytes\n",
    )?;
    let mut line = Line::new();
    columns(&mut line, counts(&stats.counters));
    line.write_to(w)?;
    w.write_str("\n Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n")?;
    line.clear();
    columns(&mut line, rates(&stats.rates));
    line.write_to(w)
}

/// The first two lines of `ip_vs_stats_percpu`.
pub fn percpu_header<W: fmt::Write + ?Sized>(w: &mut W) -> fmt::Result {
    w.write_str(
        "       Total Incoming Outgoing         Incoming         Outgoing\n\
         CPU    Conns  Packets  Packets            Bytes            Bytes\n",
    )
}

/// The line of a CPU. Its counters are never zeroed.
pub fn percpu_line<W: fmt::Write + ?Sized>(w: &mut W, cpu: u32, c: &Counters) -> fmt::Result {
    let mut line = Line::new();
    line.hex_right(cpu.into(), 3);
    line.byte(b' ');
    columns(&mut line, counts(c));
    line.write_to(w)
}

/// The last four lines of `ip_vs_stats_percpu`.
pub fn percpu_total<W: fmt::Write + ?Sized>(w: &mut W, stats: &Stats) -> fmt::Result {
    let mut line = Line::new();
    line.str("  ~ ");
    columns(&mut line, counts(&stats.counters));
    line.write_to(w)?;
    w.write_str("\n     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n")?;
    line.clear();
    line.str("    ");
    columns(&mut line, rates(&stats.rates));
    line.write_to(w)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Stats {
        Stats {
            counters: Counters {
                conns: 0x1f,
                inpkts: 0xabcdef,
                outpkts: 0,
                inbytes: 0x1_0000_0000,
                outbytes: u64::MAX,
            },
            rates: Rates {
                cps: 1,
                inpps: 10,
                outpps: 0,
                inbps: 0xffff,
                outbps: 16,
            },
        }
    }

    #[test]
    fn file() {
        let mut s = String::new();
        stats_file(&mut s, &sample()).unwrap();
        assert_eq!(
            s,
            "   Total Incoming Outgoing         Incoming         Outgoing\n   \
                Conns  Packets  Packets            Bytes            Bytes\n      \
                1F   ABCDEF        0        100000000 FFFFFFFFFFFFFFFF\n\
             \n \
             Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n       \
                1        A        0             FFFF               10\n"
        );
        assert_eq!(s.lines().nth(2).unwrap().split_whitespace().count(), 5);
    }

    #[test]
    fn percpu() {
        let mut s = String::new();
        percpu_header(&mut s).unwrap();
        percpu_line(&mut s, 0, &sample().counters).unwrap();
        percpu_line(&mut s, 255, &Counters::ZERO).unwrap();
        percpu_line(&mut s, 0x1234, &Counters::ZERO).unwrap();
        percpu_total(&mut s, &sample()).unwrap();
        let want = [
            "       Total Incoming Outgoing         Incoming         Outgoing",
            "CPU    Conns  Packets  Packets            Bytes            Bytes",
            "  0       1F   ABCDEF        0        100000000 FFFFFFFFFFFFFFFF",
            " FF        0        0        0                0                0",
            "1234        0        0        0                0                0",
            "  ~       1F   ABCDEF        0        100000000 FFFFFFFFFFFFFFFF",
            "",
            "     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s",
            "           1        A        0             FFFF               10",
            "",
        ];
        assert_eq!(s, want.join("\n"));
    }

    proptest! {
        #[test]
        fn as_formatted(v: [u64; 5]) {
            let c = Counters {
                conns: v[0], inpkts: v[1], outpkts: v[2], inbytes: v[3], outbytes: v[4],
            };
            let mut s = String::new();
            percpu_line(&mut s, 7, &c).unwrap();
            let want = format!(
                "{:3X} {:8X} {:8X} {:8X} {:16X} {:16X}\n", 7, v[0], v[1], v[2], v[3], v[4]
            );
            prop_assert_eq!(s, want);
        }
    }
}
