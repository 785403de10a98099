// SPDX-License-Identifier: GPL-2.0
//! Settings below /proc/sys/net/ipv4/vs.
//!
//! Those of stock, and beyond them `debug_level`, which is one for all namespaces, and a timeout for
//! each state that has one.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_ctl.c

use crate::{
    ip_vs_ctl, ip_vs_debug, ip_vs_defense,
    ip_vs_ns::{work, NsRef, NsState},
};
use core::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use ipvs_logic::{
    defense::MODE_MAX,
    table::{default_conn_lfactor, default_svc_lfactor, CONN_MAX, LFACTOR_RANGE},
    timeouts::TimeoutId,
};
use kernel::prelude::*;
use knet::{
    net::Net,
    params,
    rcu::Arc,
    sysctl::{Entry, Table},
};

/// The settings, see Documentation/networking/ipvs-sysctl.rst of the kernel.
pub struct Sysctls {
    /// Less free memory than this, in pages, is short.
    pub amemthresh: AtomicI32,
    /// One in so many new connections is refused while `drop_packet` is 3.
    pub am_droprate: AtomicI32,
    /// Connections there may be.
    pub conn_max: AtomicI32,
    /// What `conn_max` may be set to by who has no privileges outside.
    conn_max_limit: AtomicI32,
    /// Mode of dropping connections at random.
    pub drop_entry: AtomicI32,
    /// Mode of refusing a part of the new connections.
    pub drop_packet: AtomicI32,
    /// Connections keep their entry in connection tracking.
    pub conntrack: AtomicI32,
    /// Mode of being careful with TCP.
    pub secure_tcp: AtomicI32,
    /// Replies are routed again with their new source.
    pub snat_reroute: AtomicI32,
    /// Version of synchronisation messages that are sent.
    pub sync_version: AtomicI32,
    /// Ports, and threads, that synchronisation messages are sent through.
    pub sync_ports: AtomicI32,
    /// Of persistent connections only the templates are synchronised.
    pub sync_persist_mode: AtomicI32,
    /// Synchronisation messages that may wait.
    pub sync_qlen_max: AtomicUsize,
    /// Bytes of socket buffer for synchronisation messages; 0: the system's default.
    pub sync_sock_size: AtomicI32,
    /// Packets for foreign addresses that no server wants go where they were sent.
    pub cache_bypass: AtomicI32,
    /// Packets of connections whose server was removed begin new ones.
    pub expire_nodest_conn: AtomicI32,
    /// New TCP connections need not begin with SYN.
    pub sloppy_tcp: AtomicI32,
    /// New SCTP associations need not begin with INIT.
    pub sloppy_sctp: AtomicI32,
    /// Clients do not come back to a server whose weight is 0.
    pub expire_quiescent_template: AtomicI32,
    /// When connections are synchronised: threshold and period in packets.
    sync_threshold: AtomicU64,
    /// How long a synchronised connection need not be sent again, in jiffies.
    pub sync_refresh_period: AtomicI32,
    /// How often a connection is sent besides that.
    pub sync_retries: AtomicI32,
    /// Servers are told that a connection is gone.
    pub nat_icmp_send: AtomicI32,
    /// Clients are told what packets fit into a tunnel.
    pub pmtu_disc: AtomicI32,
    /// While it is a backup only, a director balances nothing.
    pub backup_only: AtomicI32,
    /// When the first packet of a connection finds an old one.
    pub conn_reuse_mode: AtomicI32,
    /// ICMP errors may begin connections.
    pub schedule_icmp: AtomicI32,
    /// Packets that came out of a tunnel are left alone.
    pub ignore_tunneled: AtomicI32,
    /// Load factor of the connection table, as a shift.
    pub conn_lfactor: AtomicI32,
    /// Load factor of the service table, as a shift.
    pub svc_lfactor: AtomicI32,
    /// How long lblc remembers an address, in jiffies. The scheduler's module has the file.
    pub lblc_expiration: AtomicI32,
    /// The same of lblcr, also for how long a set of servers does not shrink.
    pub lblcr_expiration: AtomicI32,
}

/// `conn_max_limit` of the first namespace: others begin with it.
static INIT_CONN_MAX: AtomicI32 = AtomicI32::new(CONN_MAX);

/// Default of `sync_threshold`: from the third packet on, every fiftieth.
const SYNC_THRESHOLD: [i32; 2] = [3, 50];

fn pack([a, b]: [i32; 2]) -> u64 {
    u64::from(a as u32) << 32 | u64::from(b as u32)
}

fn unpack(both: u64) -> [i32; 2] {
    [(both >> 32) as u32 as i32, both as u32 as i32]
}

impl Sysctls {
    /// The defaults.
    pub fn new(is_init: bool) -> Self {
        let conn_max = if is_init {
            INIT_CONN_MAX.store(CONN_MAX, Ordering::Relaxed);
            CONN_MAX
        } else {
            INIT_CONN_MAX.load(Ordering::Relaxed)
        };
        let off = || AtomicI32::new(0);
        let on = || AtomicI32::new(1);
        Self {
            amemthresh: AtomicI32::new(1024),
            am_droprate: AtomicI32::new(10),
            conn_max: AtomicI32::new(conn_max),
            conn_max_limit: AtomicI32::new(conn_max),
            drop_entry: off(),
            drop_packet: off(),
            conntrack: off(),
            secure_tcp: off(),
            snat_reroute: on(),
            sync_version: on(),
            sync_ports: on(),
            sync_persist_mode: off(),
            sync_qlen_max: AtomicUsize::new(params::free_buffer_pages() / 32),
            sync_sock_size: off(),
            cache_bypass: off(),
            expire_nodest_conn: off(),
            sloppy_tcp: off(),
            sloppy_sctp: off(),
            expire_quiescent_template: off(),
            sync_threshold: AtomicU64::new(pack(SYNC_THRESHOLD)),
            sync_refresh_period: off(),
            sync_retries: off(),
            nat_icmp_send: off(),
            pmtu_disc: on(),
            backup_only: off(),
            conn_reuse_mode: on(),
            schedule_icmp: off(),
            ignore_tunneled: off(),
            conn_lfactor: AtomicI32::new(default_conn_lfactor(is_init)),
            svc_lfactor: AtomicI32::new(default_svc_lfactor(is_init)),
            lblc_expiration: AtomicI32::new(0),
            lblcr_expiration: AtomicI32::new(0),
        }
    }

    /// When connections are synchronised: threshold and period in packets, which belong together.
    pub fn sync_threshold(&self) -> [i32; 2] {
        unpack(self.sync_threshold.load(Ordering::Relaxed))
    }
}

fn set_conn_max(ns: NsRef<'_>, _old: i32, new: i32) -> Result {
    let s = &ns.value().sysctl;
    // Only who has privileges outside the namespace may go above what they gave it.
    let privileged = knet::net::is_net_admin();
    // Both limits are those of one writer.
    let _control = ns.value().control.lock();
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

fn set_mode(ns: NsRef<'_>, at: &AtomicI32, new: i32) -> Result {
    if !(0..=MODE_MAX).contains(&new) {
        return Err(EINVAL);
    }
    at.store(new, Ordering::Relaxed);
    ip_vs_defense::mode_changed(ns);
    Ok(())
}

fn set_sync_ports(ns: NsRef<'_>, _old: i32, new: i32) -> Result {
    if new < 1 || !(new as u32).is_power_of_two() {
        return Err(EINVAL);
    }
    let at = &ns.value().sysctl.sync_ports;
    at.store(new, Ordering::Relaxed);
    Ok(())
}

/// Of two who write at once, each a part, neither undoes what the other wrote.
fn set_sync_threshold(ns: NsRef<'_>, [first, second]: [Option<i32>; 2]) -> Result {
    let change = |both| {
        let [threshold, period] = unpack(both);
        let (threshold, period) = (first.unwrap_or(threshold), second.unwrap_or(period));
        let good = threshold >= 0 && period >= 0 && (period == 0 || threshold < period);
        good.then(|| pack([threshold, period]))
    };
    let at = &ns.value().sysctl.sync_threshold;
    at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change)
        .map(|_| ())
        .map_err(|_| EINVAL)
}

/// A number without limits.
macro_rules! int {
    ($name:ident) => {
        Entry::int(kernel::c_str!(stringify!($name)), |ns: &NsState| {
            &ns.sysctl.$name
        })
    };
}

/// A mode of defense.
macro_rules! mode {
    ($name:ident) => {
        Entry::call(
            kernel::c_str!(stringify!($name)),
            |ns: &NsState| ns.sysctl.$name.load(Ordering::Relaxed),
            |ns, _old, new| set_mode(ns, &ns.value().sysctl.$name, new),
        )
    };
}

/// A timeout, in seconds.
macro_rules! timeout {
    ($name:literal, $id:ident) => {
        Entry::call(
            $name,
            |ns| ip_vs_ctl::timeout(ns, TimeoutId::$id),
            |ns, _old, new| ip_vs_ctl::set_timeout(ns, TimeoutId::$id, new),
        )
    };
}

static ENTRIES: [Entry<NsState>; 42] = [
    int!(amemthresh),
    int!(am_droprate),
    Entry::call(
        c"conn_max",
        |ns| ns.sysctl.conn_max.load(Ordering::Relaxed),
        set_conn_max,
    ),
    mode!(drop_entry),
    mode!(drop_packet),
    int!(conntrack),
    mode!(secure_tcp),
    int!(snat_reroute),
    Entry::range(c"sync_version", |ns| &ns.sysctl.sync_version, 0, 1),
    Entry::call(
        c"sync_ports",
        |ns| ns.sysctl.sync_ports.load(Ordering::Relaxed),
        set_sync_ports,
    ),
    int!(sync_persist_mode),
    Entry::long(c"sync_qlen_max", |ns: &NsState| &ns.sysctl.sync_qlen_max).privileged(),
    int!(sync_sock_size).privileged(),
    int!(cache_bypass),
    int!(expire_nodest_conn),
    int!(sloppy_tcp),
    int!(sloppy_sctp),
    int!(expire_quiescent_template),
    Entry::pair(
        c"sync_threshold",
        |ns| ns.sysctl.sync_threshold(),
        set_sync_threshold,
    ),
    Entry::jiffies(c"sync_refresh_period", |ns| &ns.sysctl.sync_refresh_period),
    Entry::range(c"sync_retries", |ns| &ns.sysctl.sync_retries, 0, 3),
    int!(nat_icmp_send),
    int!(pmtu_disc),
    int!(backup_only),
    int!(conn_reuse_mode),
    int!(schedule_icmp),
    int!(ignore_tunneled),
    Entry::call(
        c"conn_lfactor",
        |ns: &NsState| ns.sysctl.conn_lfactor.load(Ordering::Relaxed),
        set_conn_lfactor,
    )
    .privileged(),
    Entry::call(
        c"svc_lfactor",
        |ns: &NsState| ns.sysctl.svc_lfactor.load(Ordering::Relaxed),
        set_svc_lfactor,
    )
    .privileged(),
    Entry::call(
        c"debug_level",
        |_| ip_vs_debug::level(),
        |ns, _old, new| ip_vs_debug::set_level(ns, new),
    )
    .init_only(),
    timeout!(c"timeout_established", Established),
    timeout!(c"timeout_synsent", SynSent),
    timeout!(c"timeout_synrecv", SynRecv),
    timeout!(c"timeout_finwait", FinWait),
    timeout!(c"timeout_timewait", TimeWait),
    timeout!(c"timeout_close", Close),
    timeout!(c"timeout_closewait", CloseWait),
    timeout!(c"timeout_lastack", LastAck),
    timeout!(c"timeout_listen", Listen),
    timeout!(c"timeout_synack", SynAck),
    timeout!(c"timeout_udp", Udp),
    timeout!(c"timeout_icmp", Icmp),
];

/// Makes the files of a namespace.
pub fn register<'n>(net: &'n Net, ns: &Arc<NsState>) -> Result<Table<'n, NsState>> {
    Table::new(net, c"net/ipv4/vs", ns.clone(), &ENTRIES)
}
