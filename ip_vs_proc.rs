// SPDX-License-Identifier: GPL-2.0
//! Files in /proc/net.
//!
//! C counterparts: net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_conn.c

use crate::{
    ip_vs_conn::{ConnRef, Direction},
    ip_vs_ns::{Namespaces, NsArc, NsState},
    ip_vs_svc::{Dest, Service},
};
use core::{fmt, sync::atomic::Ordering};
use ipvs_logic::{
    addr::Endpoint,
    procfmt::{self, Buckets, ConnLine, DestLine, ServiceLine, Status, TableStatus},
};
use kernel::prelude::*;
use knet::{
    net::Net,
    percpu::nr_cpu_ids,
    rcu::{Object, Rcu, Ref},
    seq::{File, Show, Walk, Writer},
    table::Table,
    timed::{jiffies, HZ},
};

/// The files of a namespace.
pub struct Files<'n> {
    _files: [File<'n>; 7],
}

impl<'n> Files<'n> {
    /// Makes them.
    pub fn new(net: &'n Net) -> Result<Self> {
        Ok(Self {
            _files: [
                File::walk::<Info>(net, c"ip_vs", 0)?,
                File::single::<StatsFile>(net, c"ip_vs_stats", 0)?,
                File::single::<PerCpuFile>(net, c"ip_vs_stats_percpu", 0)?,
                File::walk::<Conns>(net, c"ip_vs_conn", 0)?,
                File::walk::<ConnsSync>(net, c"ip_vs_conn_sync", 0)?,
                File::single::<Apps>(net, c"ip_vs_app", 0)?,
                File::single::<StatusFile>(net, c"ip_vs_status", 0o440)?,
            ],
        })
    }
}

/// Writing to a file never fails: what does not fit is written again.
fn written(_: fmt::Result) {}

/// Services and real servers.
struct Info;

impl Walk for Info {
    type Ns = Namespaces;

    fn header(ns: &NsState, _rcu: Rcu<'_>, out: &mut Writer<'_>) {
        written(procfmt::info_header(out, ns.conn_tab_size()));
    }

    fn step(ns: &NsState, rcu: Rcu<'_>, cursor: u64, out: &mut Writer<'_>) -> Option<u64> {
        let show = |out: &mut Writer<'_>, svc: Ref<'_, Service>, _| {
            show_service(svc.value(), rcu, out);
        };
        let mark = out.mark();
        ns.services
            .walk_into(rcu, cursor, out, |out| out.rewind(mark), show)
    }
}

fn show_service(svc: &Service, rcu: Rcu<'_>, out: &mut Writer<'_>) {
    let roster = svc.roster.load(rcu);
    let sched = roster.and_then(|r| r.value().sched.as_ref());
    let line = ServiceLine {
        key: &svc.key,
        sched: sched.and_then(|s| s.name().to_str().ok()).unwrap_or("none"),
        flags: svc.flags(),
        timeout: svc.timeout.load(Ordering::Relaxed),
        netmask: svc.netmask.load(Ordering::Relaxed),
    };
    written(procfmt::service_line(out, &line));
    let dests = roster.map_or(&[][..], |r| &r.value().dests);
    dests.iter().for_each(|d| show_dest(d, out));
}

fn show_dest(dest: &Dest, out: &mut Writer<'_>) {
    let line = DestLine {
        af: dest.af,
        end: Endpoint::new(dest.addr, dest.port),
        flags: dest.conn_flags(),
        weight: dest.weight(),
        conns: dest.conns(),
    };
    written(procfmt::dest_line(out, &line));
}

/// Packets of all services.
struct StatsFile;

impl Show for StatsFile {
    type Ns = Namespaces;

    fn show(ns: &NsArc, _net: &Net, out: &mut Writer<'_>) -> Result {
        written(procfmt::stats_file(out, &ns.stats.snapshot()));
        Ok(())
    }
}

/// Packets by CPU.
struct PerCpuFile;

impl Show for PerCpuFile {
    type Ns = Namespaces;

    fn show(ns: &NsArc, _net: &Net, out: &mut Writer<'_>) -> Result {
        written(procfmt::percpu_header(out));
        for cpu in 0..nr_cpu_ids() {
            if let Some(counters) = ns.stats.of_cpu(cpu) {
                written(procfmt::percpu_line(out, cpu, &counters));
            }
        }
        written(procfmt::percpu_total(out, &ns.stats.snapshot()));
        Ok(())
    }
}

fn conn_line(conn: ConnRef<'_>) -> ConnLine<'_> {
    let c = conn.value();
    ConnLine {
        af: c.af,
        daf: c.real_af,
        proto: c.proto,
        client: c.client,
        virt: c.virt,
        dest: c.shown_real(),
        state: c.state_name(),
        expires: procfmt::expires_secs(conn.deadline().wrapping_sub(jiffies()) as i64, HZ),
    }
}

fn walk_conns(
    ns: &NsState,
    rcu: Rcu<'_>,
    cursor: u64,
    out: &mut Writer<'_>,
    show: impl Fn(&mut Writer<'_>, ConnRef<'_>),
) -> Option<u64> {
    let show = |out: &mut Writer<'_>, conn: ConnRef<'_>, link| {
        if link == Direction::In as usize {
            show(out, conn);
        }
    };
    let mark = out.mark();
    ns.conns
        .walk_into(rcu, cursor, out, |out| out.rewind(mark), show)
}

/// Connections.
struct Conns;

impl Walk for Conns {
    type Ns = Namespaces;

    fn header(_ns: &NsState, _rcu: Rcu<'_>, out: &mut Writer<'_>) {
        written(procfmt::conn_header(out));
    }

    fn step(ns: &NsState, rcu: Rcu<'_>, cursor: u64, out: &mut Writer<'_>) -> Option<u64> {
        walk_conns(ns, rcu, cursor, out, |out, c| {
            written(procfmt::conn_line(out, &conn_line(c), None))
        })
    }
}

/// Connections, and where they come from.
struct ConnsSync;

impl Walk for ConnsSync {
    type Ns = Namespaces;

    fn header(_ns: &NsState, _rcu: Rcu<'_>, out: &mut Writer<'_>) {
        written(procfmt::conn_sync_header(out));
    }

    fn step(ns: &NsState, rcu: Rcu<'_>, cursor: u64, out: &mut Writer<'_>) -> Option<u64> {
        walk_conns(ns, rcu, cursor, out, |out, c| {
            written(procfmt::conn_sync_line(out, &conn_line(c), c.flags()))
        })
    }
}

/// Helpers of protocols.
struct Apps;

impl Show for Apps {
    type Ns = Namespaces;

    fn show(_ns: &NsArc, _net: &Net, out: &mut Writer<'_>) -> Result {
        written(procfmt::app_header(out));
        Ok(())
    }
}

/// How full the tables are.
struct StatusFile;

impl Show for StatusFile {
    type Ns = Namespaces;

    fn show(ns: &NsArc, _net: &Net, out: &mut Writer<'_>) -> Result {
        let (threads, max) = ns.est.slots();
        let status = Status {
            conns: table_status(&ns.conns, ns.conn_count.load(Ordering::Relaxed)),
            services: table_status(&ns.services, ns.num_services()),
            est_threads: i32::try_from(threads).unwrap_or(i32::MAX),
            est_max_threads: max.into(),
            ..Status::default()
        };
        written(status.write(out));
        Ok(())
    }
}

fn table_status<T: Object>(table: &Table<T>, entries: i32) -> TableStatus {
    let guard = knet::rcu::read_lock();
    let shape = table.shape(guard.rcu());
    drop(guard);
    let Some(shape) = shape else {
        return TableStatus::default();
    };
    let mut buckets = Buckets::default();
    let full = (entries != 0).then(|| table.chains(|len| buckets.add(len)));
    TableStatus {
        entries: u32::try_from(entries).unwrap_or(0),
        size: 1 << shape.bits,
        bits: shape.bits,
        lfactor: shape.lfactor,
        buckets: full.map(|()| buckets),
    }
}
