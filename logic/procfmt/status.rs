// SPDX-License-Identifier: GPL-2.0
//! `/proc/net/ip_vs_status` and `/proc/net/ip_vs_app`.
//!
//! C counterparts: `ip_vs_status_show()`, net/netfilter/ipvs/ip_vs_ctl.c, and
//! `ip_vs_app_seq_show()`, net/netfilter/ipvs/ip_vs_app.c.

use super::Line;
use crate::addr::Port;
use core::fmt;

/// How many buckets of a table are how full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Buckets([u32; 8]);

impl Buckets {
    /// Counting a bucket may stop at so many entries.
    pub const MAX_LEN: usize = 7;

    /// Adds a bucket with `len` entries, more than [`Buckets::MAX_LEN`] being as good as that.
    pub fn add(&mut self, len: usize) {
        if let Some(n) = self.0.get_mut(len.min(Self::MAX_LEN)) {
            *n = n.wrapping_add(1);
        }
    }

    fn write<W: fmt::Write + ?Sized>(&self, w: &mut W, what: &str) -> fmt::Result {
        let [empty, used @ ..] = &self.0;
        let sum_used = used.iter().fold(0, |a: u32, n| a.wrapping_add(*n));
        let sum = sum_used.wrapping_add(*empty);
        let percent = |n: u32, of: u32| u64::from(n) * 100 / u64::from(of.max(1));
        writeln!(
            w,
            "{what} buckets empty:\t{empty} ({}%)",
            percent(*empty, sum)
        )?;
        for (i, n) in used.iter().enumerate().filter(|(_, n)| **n != 0) {
            let len = i.wrapping_add(1);
            writeln!(
                w,
                "{what} buckets len-{len}:\t{n} ({}%)",
                percent(*n, sum_used)
            )?;
        }
        Ok(())
    }
}

/// What is shown of a hash table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TableStatus {
    /// Number of entries.
    pub entries: u32,
    /// Number of buckets, 0 without a table.
    pub size: u32,
    /// The same as a power of two.
    pub bits: u32,
    /// Load factor.
    pub lfactor: i32,
    /// How full the buckets are; `None` without entries, or if the table kept changing while they
    /// were counted.
    pub buckets: Option<Buckets>,
}

impl TableStatus {
    fn write<W: fmt::Write + ?Sized>(&self, w: &mut W, entries: &str, what: &str) -> fmt::Result {
        let Self {
            size,
            bits,
            lfactor,
            ..
        } = self;
        writeln!(w, "{entries}:\t{}", self.entries)?;
        writeln!(
            w,
            "{what} buckets:\t{size} ({bits} bits, lfactor {lfactor})"
        )?;
        self.buckets.as_ref().map_or(Ok(()), |b| b.write(w, what))
    }
}

/// What `ip_vs_status` shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The connection table.
    pub conns: TableStatus,
    /// The service table.
    pub services: TableStatus,
    /// Estimation threads there are.
    pub est_threads: i32,
    /// Estimation threads there may be.
    pub est_max_threads: u64,
    /// Estimators a chain may have.
    pub est_chain_max: i32,
    /// Estimators a thread may have.
    pub est_per_thread: i32,
}

impl Status {
    /// All of `ip_vs_status`.
    pub fn write<W: fmt::Write + ?Sized>(&self, w: &mut W) -> fmt::Result {
        self.conns.write(w, "Conns", "Conn")?;
        self.services.write(w, "Services", "Service")?;
        let Self {
            est_threads,
            est_max_threads,
            est_chain_max,
            est_per_thread,
            ..
        } = self;
        writeln!(
            w,
            "Stats thread slots:\t{est_threads} (max {est_max_threads})"
        )?;
        writeln!(w, "Stats chain max len:\t{est_chain_max}")?;
        writeln!(w, "Stats thread ests:\t{est_per_thread}")
    }
}

/// A helper of a protocol on a port, as shown.
#[derive(Clone, Copy, Debug)]
pub struct AppLine<'a> {
    /// Protocol.
    pub proto: u16,
    /// Port.
    pub port: Port,
    /// Connections that use it.
    pub usecnt: i32,
    /// Its name.
    pub name: &'a str,
}

/// The first line of `ip_vs_app`.
pub fn app_header<W: fmt::Write + ?Sized>(w: &mut W) -> fmt::Result {
    w.write_str("prot port    usecnt name\n")
}

/// A line of `ip_vs_app`.
pub fn app_line<W: fmt::Write + ?Sized>(w: &mut W, app: &AppLine<'_>) -> fmt::Result {
    let mut line = Line::<80>::new();
    line.proto(app.proto, 3);
    line.str("  ");
    line.dec_left(app.port.host().into(), 7);
    line.byte(b' ');
    line.dec_left(app.usecnt.into(), 6);
    line.byte(b' ');
    line.left(app.name, 17);
    line.byte(b'\n');
    line.write_to(w)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Proto;

    #[test]
    fn nothing() {
        let mut s = String::new();
        Status::default().write(&mut s).unwrap();
        assert_eq!(
            s,
            "Conns:\t0\nConn buckets:\t0 (0 bits, lfactor 0)\n\
             Services:\t0\nService buckets:\t0 (0 bits, lfactor 0)\n\
             Stats thread slots:\t0 (max 0)\nStats chain max len:\t0\nStats thread ests:\t0\n"
        );
    }

    #[test]
    fn busy() {
        let mut b = Buckets::default();
        for len in [0, 0, 0, 1, 1, 2, 7, 9] {
            b.add(len);
        }
        let t = TableStatus {
            entries: 20,
            size: 8,
            bits: 3,
            lfactor: -4,
            buckets: Some(b),
        };
        let status = Status {
            conns: t,
            services: TableStatus {
                entries: 1,
                buckets: Some(Buckets::default()),
                ..t
            },
            est_threads: 1,
            est_max_threads: 8,
            est_chain_max: 4,
            est_per_thread: 9600,
        };
        let mut s = String::new();
        status.write(&mut s).unwrap();
        assert_eq!(
            s,
            "Conns:\t20\nConn buckets:\t8 (3 bits, lfactor -4)\n\
             Conn buckets empty:\t3 (37%)\nConn buckets len-1:\t2 (40%)\n\
             Conn buckets len-2:\t1 (20%)\nConn buckets len-7:\t2 (40%)\n\
             Services:\t1\nService buckets:\t8 (3 bits, lfactor -4)\n\
             Service buckets empty:\t0 (0%)\n\
             Stats thread slots:\t1 (max 8)\nStats chain max len:\t4\nStats thread ests:\t9600\n"
        );
    }

    #[test]
    fn app() {
        let mut s = String::new();
        app_header(&mut s).unwrap();
        let ftp = AppLine {
            proto: Proto::TCP.into(),
            port: Port::FTP,
            usecnt: 3,
            name: "ftp",
        };
        app_line(&mut s, &ftp).unwrap();
        let odd = AppLine {
            proto: 0,
            port: Port::from_host(65535),
            usecnt: -1,
            name: "",
        };
        app_line(&mut s, &odd).unwrap();
        assert_eq!(
            s,
            "prot port    usecnt name\n\
             TCP  21      3      ftp              \n\
             IP   65535   -1                      \n"
        );
    }
}
