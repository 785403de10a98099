// SPDX-License-Identifier: GPL-2.0
//! What IPVS keeps for each network namespace.
//!
//! C counterpart: `struct netns_ipvs`, include/net/ip_vs.h

use crate::{
    ip_vs_conn::{self, ConnTable},
    ip_vs_ctl::{self, Control},
    ip_vs_defense::{self, Defense},
    ip_vs_est::{self, Estimation},
    ip_vs_proc::Files,
    ip_vs_proto::Timeouts,
    ip_vs_svc::{Dest, Service, Stats, StatsPool},
    ip_vs_sysctl::{self, Sysctls},
};
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use ipvs_logic::{
    addr::Af,
    siphash::SipKey,
    table::{CONN_TAB_MIN_BITS, SVC_TAB_MIN_BITS},
};
use kernel::{new_mutex, prelude::*, sync::Mutex};
use knet::{
    conntrack::{Tracking, TrackingGate},
    hook::{HookGate, HookSlot},
    net::Net,
    pernet::{self, PerNet},
    random,
    rcu::{Arc, Ref},
    sysctl,
    table::Table,
    work::{Worked, Worker},
};

/// Works of a namespace, by number.
pub mod work {
    /// Makes the connection table larger or smaller.
    pub const CONN_RESIZE: usize = 0;
    /// Makes the service table larger or smaller.
    pub const SVC_RESIZE: usize = 1;
    /// Frees removed servers that have no connections any more.
    pub const TRASH: usize = 2;
    /// Ends connections of removed servers.
    pub const EXPIRE_NODEST: usize = 3;
    /// Starts and stops threads of the estimation.
    pub const EST_RELOAD: usize = 4;
    /// Looks whether memory is short.
    pub const DEFENSE: usize = 5;
}

/// Something of each address family.
#[derive(Default)]
pub struct PerAf<T>([T; 2]);

impl<T> PerAf<T> {
    /// That of `af`.
    #[inline]
    pub fn of(&self, af: Af) -> &T {
        let [v4, v6] = &self.0;
        match af {
            Af::Inet => v4,
            Af::Inet6 => v6,
        }
    }

    /// Both.
    pub fn both(&self) -> &[T; 2] {
        &self.0
    }
}

/// Numbers of services of some kind, so that lookups which cannot hit are skipped.
#[derive(Default)]
pub struct ServiceCounts {
    /// All.
    pub all: PerAf<AtomicI32>,
    /// By firewall mark.
    pub fwmark: PerAf<AtomicI32>,
    /// By address.
    pub addr: PerAf<AtomicI32>,
    /// For the FTP port.
    pub ftp: PerAf<AtomicI32>,
    /// For every port.
    pub any_port: PerAf<AtomicI32>,
}

/// State of one namespace.
#[pin_data]
pub struct Ns {
    /// Whether this is the namespace that exists from boot.
    pub is_init: bool,
    /// Key of the connection table's hashes.
    pub conn_key: SipKey,
    /// Connections.
    pub conns: ConnTable,
    /// Connections there are or are about to be, for `conn_max`.
    pub conn_count: AtomicI32,
    /// A resize of the table is on its way.
    pub conn_resize: AtomicBool,
    /// Packets of everything.
    pub stats: Stats,
    /// Timeouts of connections, by protocol and state.
    pub timeouts: Timeouts,
    /// Settings.
    pub sysctl: Sysctls,
    /// What is done against floods.
    pub defense: Defense,
    /// Key of the service tables' hashes.
    pub svc_key: SipKey,
    /// Services.
    pub services: Table<Service>,
    /// Numbers of services.
    pub counts: ServiceCounts,
    /// Real servers by their own address and port, of all services.
    pub real_servers: Table<Dest>,
    /// Hooks, while there are IPv4 services.
    #[pin]
    pub hooks4: HookSlot<NsState>,
    /// Hooks, while there are IPv6 services.
    #[pin]
    pub hooks6: HookSlot<NsState>,
    /// Held while the service table is made larger or smaller. Dumps hold it too, and `control`
    /// not: who loads a scheduler under that may take long.
    #[pin]
    pub svc_resize: Mutex<()>,
    /// Entries of connection tracking that go with their connections.
    pub tracking: Tracking,
    /// Estimation of rates.
    #[pin]
    pub est: Estimation,
    /// What only configuration changes.
    #[pin]
    pub control: Mutex<Control>,
}

/// Counted reference to a namespace's state.
pub type NsArc = Arc<NsState>;
/// Borrowed reference to a namespace's state.
pub type NsRef<'g> = Ref<'g, NsState>;
/// A namespace's state with its works.
pub type NsState = Worked<Ns>;

impl Ns {
    /// State of a namespace without services.
    pub fn new(net: &Net) -> Result<NsArc> {
        let sysctl = Sysctls::new(net.is_init());
        let conns = Table::new(CONN_TAB_MIN_BITS)?;
        let services = Table::new(SVC_TAB_MIN_BITS)?;
        let real_servers = Table::new(SVC_TAB_MIN_BITS)?;
        real_servers.resize(ip_vs_ctl::REAL_SERVERS_SHAPE)?;
        let mut pool = StatsPool::new();
        let stats = Stats::new(&mut pool)?;
        let control = Control::new(pool)?;
        let ns = try_pin_init!(Self {
            is_init: net.is_init(),
            conn_key: SipKey::new(random::key()),
            conns,
            conn_count: AtomicI32::new(0),
            conn_resize: AtomicBool::new(false),
            stats,
            timeouts: Timeouts::default(),
            sysctl,
            defense: Defense::default(),
            svc_key: SipKey::new(random::key()),
            services,
            counts: ServiceCounts::default(),
            real_servers,
            hooks4 <- HookSlot::new(),
            hooks6 <- HookSlot::new(),
            svc_resize <- new_mutex!((), "ipvs->svc_resize"),
            tracking: Tracking::new(),
            est <- Estimation::new(),
            control <- new_mutex!(control, "ipvs->control"),
        }? Error);
        Arc::pin_init(NsState::new(ns), knet::Gfp::Kernel)
    }

    /// Number of services.
    pub fn num_services(&self) -> i32 {
        self.counts
            .all
            .both()
            .iter()
            .map(|n| n.load(Ordering::Relaxed))
            .sum()
    }

    /// Number of buckets of the connection table, 0 before the first service.
    pub fn conn_tab_size(&self) -> u32 {
        let guard = knet::rcu::read_lock();
        let shape = self.conns.shape(guard.rcu());
        shape.map_or(0, |s| 1 << s.bits)
    }
}

/// Namespaces, as they come and go.
pub struct Namespaces;

static KEY: pernet::Key<Namespaces> = pernet::Key::new();

impl PerNet for Namespaces {
    type State = NsState;
    type Attached<'n> = (
        Files<'n>,
        sysctl::Table<'n, NsState>,
        sysctl::Table<'n, NsState>,
        [HookGate<'n, NsState>; 2],
        TrackingGate<'n, NsState>,
    );

    fn key() -> &'static pernet::Key<Self> {
        &KEY
    }

    fn init(net: &Net) -> Result<NsArc> {
        Ns::new(net)
    }

    fn attach<'n>(ns: &NsArc, net: &'n Net) -> Result<Self::Attached<'n>> {
        Ok((
            Files::new(net)?,
            ip_vs_sysctl::register(net, ns)?,
            ip_vs_est::register(net, ns)?,
            [
                HookSlot::open(ns, |ns| &ns.hooks4, net),
                HookSlot::open(ns, |ns| &ns.hooks6, net),
            ],
            Tracking::open(ns, |ns| &ns.tracking, net),
        ))
    }

    fn device_exit(ns: &NsArc, _net: &Net) {
        ns.hooks4.close();
        ns.hooks6.close();
        ns.tracking.close();
    }

    fn exit_services(ns: &NsArc, _net: &Net) {
        ip_vs_ctl::clear(ns);
    }

    fn exit(ns: &NsArc, _net: &Net) {
        for which in [
            work::CONN_RESIZE,
            work::SVC_RESIZE,
            work::TRASH,
            work::EXPIRE_NODEST,
            work::DEFENSE,
            work::EST_RELOAD,
        ] {
            NsState::stop(ns, which);
        }
        ip_vs_est::stop(ns);
        ip_vs_conn::flush(ns);
        ip_vs_ctl::clear_trash(ns);
    }
}

impl Worker for Ns {
    fn work(this: &NsArc, which: usize) {
        match which {
            work::CONN_RESIZE => ip_vs_conn::resize_work(this),
            work::SVC_RESIZE => ip_vs_ctl::svc_resize_work(this),
            work::TRASH => ip_vs_ctl::trash_work(this),
            work::EXPIRE_NODEST => ip_vs_conn::expire_nodest_work(this),
            work::DEFENSE => ip_vs_defense::work(this),
            work::EST_RELOAD => ip_vs_est::reload_work(this),
            _ => {}
        }
    }
}
