// SPDX-License-Identifier: GPL-2.0
//! Settings below /proc/sys/net/ipv4/vs.
//!
//! Only those whose effect is there are there.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_ctl.c

use crate::ip_vs_ns::{work, NsRef, NsState};
use core::sync::atomic::{AtomicI32, Ordering};
use ipvs_logic::table::{default_conn_lfactor, default_svc_lfactor, CONN_MAX, LFACTOR_RANGE};
use kernel::prelude::*;
use knet::{
    net::Net,
    rcu::Arc,
    sysctl::{Entry, Table},
};

/// The settings, see Documentation/networking/ipvs-sysctl.rst of the kernel.
pub struct Sysctls {
    /// Connections there may be.
    pub conn_max: AtomicI32,
    /// What `conn_max` may be set to by who has no privileges outside.
    conn_max_limit: AtomicI32,
    /// New TCP connections need not begin with SYN.
    pub sloppy_tcp: AtomicI32,
    /// Packets of connections whose server was removed begin new ones.
    pub expire_nodest_conn: AtomicI32,
    /// Replies are routed again with their new source.
    pub snat_reroute: AtomicI32,
    /// Servers are told that a connection is gone.
    pub nat_icmp_send: AtomicI32,
    /// When the first packet of a connection finds an old one.
    pub conn_reuse_mode: AtomicI32,
    /// Packets in tunnels are not split if the client's were not to be.
    pub pmtu_disc: AtomicI32,
    /// ICMP errors begin connections.
    pub schedule_icmp: AtomicI32,
    /// What comes out of a tunnel on this host was balanced before.
    pub ignore_tunneled: AtomicI32,
    /// Without a server, packets for a firewall mark go to where they were sent.
    pub cache_bypass: AtomicI32,
    /// Load factor of the connection table, as a shift.
    pub conn_lfactor: AtomicI32,
    /// Load factor of the service table, as a shift.
    pub svc_lfactor: AtomicI32,
}

/// `conn_max_limit` of the first namespace: others begin with it.
static INIT_CONN_MAX: AtomicI32 = AtomicI32::new(CONN_MAX);

impl Sysctls {
    /// The defaults.
    pub fn new(is_init: bool) -> Self {
        let conn_max = if is_init {
            INIT_CONN_MAX.store(CONN_MAX, Ordering::Relaxed);
            CONN_MAX
        } else {
            INIT_CONN_MAX.load(Ordering::Relaxed)
        };
        Self {
            conn_max: AtomicI32::new(conn_max),
            conn_max_limit: AtomicI32::new(conn_max),
            sloppy_tcp: AtomicI32::new(0),
            expire_nodest_conn: AtomicI32::new(0),
            snat_reroute: AtomicI32::new(1),
            nat_icmp_send: AtomicI32::new(0),
            conn_reuse_mode: AtomicI32::new(1),
            pmtu_disc: AtomicI32::new(1),
            schedule_icmp: AtomicI32::new(0),
            ignore_tunneled: AtomicI32::new(0),
            cache_bypass: AtomicI32::new(0),
            conn_lfactor: AtomicI32::new(default_conn_lfactor(is_init)),
            svc_lfactor: AtomicI32::new(default_svc_lfactor(is_init)),
        }
    }
}

fn set_conn_max(ns: NsRef<'_>, _old: i32, new: i32) -> Result {
    let s = &ns.value().sysctl;
    // Only who has privileges outside the namespace may go above what they gave it.
    let privileged = knet::net::is_net_admin();
    let max = if privileged {
        CONN_MAX
    } else {
        s.conn_max_limit.load(Ordering::Relaxed)
    };
    if !(0..=max).contains(&new) {
        return Err(EINVAL);
    }
    if privileged {
        s.conn_max_limit.store(new, Ordering::Relaxed);
    }
    s.conn_max.store(new, Ordering::Relaxed);
    if ns.value().is_init {
        INIT_CONN_MAX.store(new, Ordering::Relaxed);
    }
    Ok(())
}

fn set_lfactor(ns: NsRef<'_>, at: &AtomicI32, new: i32, which: usize) -> Result {
    if !LFACTOR_RANGE.contains(&new) {
        return Err(EINVAL);
    }
    at.store(new, Ordering::Relaxed);
    let guard = knet::rcu::read_lock();
    let has_table = match which {
        work::CONN_RESIZE => ns.value().conns.shape(guard.rcu()).is_some(),
        _ => ns.value().services.shape(guard.rcu()).is_some(),
    };
    if has_table {
        NsState::requeue(ns, which, 0);
    }
    Ok(())
}

fn set_conn_lfactor(ns: NsRef<'_>, _old: i32, new: i32) -> Result {
    set_lfactor(ns, &ns.value().sysctl.conn_lfactor, new, work::CONN_RESIZE)
}

fn set_svc_lfactor(ns: NsRef<'_>, _old: i32, new: i32) -> Result {
    set_lfactor(ns, &ns.value().sysctl.svc_lfactor, new, work::SVC_RESIZE)
}

static ENTRIES: [Entry<NsState>; 12] = [
    Entry::call(
        c"conn_max",
        |ns| ns.sysctl.conn_max.load(Ordering::Relaxed),
        set_conn_max,
    ),
    Entry::int(c"snat_reroute", |ns| &ns.sysctl.snat_reroute),
    Entry::int(c"expire_nodest_conn", |ns| &ns.sysctl.expire_nodest_conn),
    Entry::int(c"sloppy_tcp", |ns| &ns.sysctl.sloppy_tcp),
    Entry::int(c"nat_icmp_send", |ns| &ns.sysctl.nat_icmp_send),
    Entry::int(c"pmtu_disc", |ns| &ns.sysctl.pmtu_disc),
    Entry::int(c"schedule_icmp", |ns| &ns.sysctl.schedule_icmp),
    Entry::int(c"ignore_tunneled", |ns| &ns.sysctl.ignore_tunneled),
    Entry::int(c"cache_bypass", |ns| &ns.sysctl.cache_bypass),
    Entry::int(c"conn_reuse_mode", |ns| &ns.sysctl.conn_reuse_mode),
    Entry::call(
        c"conn_lfactor",
        |ns| ns.sysctl.conn_lfactor.load(Ordering::Relaxed),
        set_conn_lfactor,
    )
    .privileged(),
    Entry::call(
        c"svc_lfactor",
        |ns| ns.sysctl.svc_lfactor.load(Ordering::Relaxed),
        set_svc_lfactor,
    )
    .privileged(),
];

/// Makes the files of a namespace.
pub fn register<'n>(net: &'n Net, ns: &Arc<NsState>) -> Result<Table<'n, NsState>> {
    Table::new(net, c"net/ipv4/vs", ns.clone(), &ENTRIES)
}
