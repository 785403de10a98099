// SPDX-License-Identifier: GPL-2.0
//! IP Virtual Server: a layer 4 load balancer.
//!
//! This crate is ip_vs.ko but for its `module!`, and what scheduler modules are written against.
//! Documentation/design.md tells where things are.
#![forbid(unsafe_code)]

use kernel::prelude::*;
use knet::{
    genl,
    net::Net,
    notifier::{Event, Listener, NetDevice, Notifier},
    pernet,
    rcu::{Barrier, CacheGuard},
    sockopt,
    timed::Timed,
};

pub use ipvs_logic as logic;
pub use knet;

pub mod ip_vs_conn;
pub mod ip_vs_core;
pub mod ip_vs_ctl;
pub mod ip_vs_debug;
pub mod ip_vs_defense;
pub mod ip_vs_est;
pub mod ip_vs_genl;
pub mod ip_vs_icmp;
pub mod ip_vs_ip;
pub mod ip_vs_nfct;
pub mod ip_vs_ns;
pub mod ip_vs_persist;
pub mod ip_vs_proc;
pub mod ip_vs_proto;
pub mod ip_vs_proto_ah_esp;
pub mod ip_vs_sched;
pub mod ip_vs_sockopt;
pub mod ip_vs_svc;
pub mod ip_vs_sync;
pub mod ip_vs_sysctl;
pub mod ip_vs_tunnel;
pub mod ip_vs_xmit;

/// Log prefix of this crate: stock's.
const __LOG_PREFIX: &[u8] = b"IPVS\0";

/// Objects freed by freeing others: connection, namespace, real server, service, roster, scheduler,
/// and what a scheduler remembers of servers.
pub(crate) const FREE_DEPTH: usize = 10;

/// What exists while ip_vs.ko is loaded; dropped in this order.
pub struct Ipvs {
    _sockopts: sockopt::Registration,
    _genl: genl::Registration,
    _namespaces: pernet::Registration<ip_vs_ns::Namespaces>,
    _notifier: Pin<KBox<Notifier<Devices>>>,
    _schedulers: ip_vs_sched::Open,
    _barrier: Barrier,
    _conn_cache: CacheGuard<Timed<ip_vs_conn::Conn>>,
    _goodbye: Goodbye,
}

/// Says that all is gone.
struct Goodbye;

impl Ipvs {
    /// Loads.
    pub fn new(module: &'static ThisModule) -> Result<Self> {
        let conn_cache = ip_vs_conn::CACHE.create(c"ip_vs_conn")?;
        let barrier = Barrier(FREE_DEPTH);
        let schedulers = ip_vs_sched::Open::new(module)?;
        let notifier = KBox::pin_init(Notifier::new(), GFP_KERNEL)?;
        pr_info!("Registered protocols (TCP, UDP, AH, ESP)\n");
        let limits = ip_vs_conn::table_limits();
        knet::params::set_conn_tab_bits(limits.max_bits() as i32);
        let size = limits.max_size();
        pr_info!(
            "Connection hash table configured (size={}, memory={}Kbytes)\n",
            size,
            u64::from(size) * 8 / 1024
        );
        let namespaces = pernet::Registration::new()?;
        let genl = ip_vs_genl::FAMILY.register(module).inspect_err(|_| {
            pr_err!("cannot register Generic Netlink interface.\n");
        })?;
        // Last: see there.
        let sockopts = ip_vs_sockopt::OPTIONS.register(module).inspect_err(|_| {
            pr_err!("cannot register sockopt.\n");
        })?;
        pr_info!("ipvs loaded.\n");
        Ok(Self {
            _sockopts: sockopts,
            _genl: genl,
            _namespaces: namespaces,
            _notifier: notifier,
            _schedulers: schedulers,
            _barrier: barrier,
            _conn_cache: conn_cache,
            _goodbye: Goodbye,
        })
    }
}

impl Drop for Goodbye {
    fn drop(&mut self) {
        pr_info!("ipvs unloaded.\n");
    }
}

/// Forgets routes through devices that go down.
struct Devices;

impl Listener for Devices {
    /// Before addrconf, which takes IPv6 routes away.
    const PRIORITY: i32 = 5;

    fn event(event: Event, net: &Net, dev: &NetDevice) {
        if event == Event::DOWN {
            if let Some(ns) = pernet::get::<ip_vs_ns::Namespaces>(net) {
                ip_vs_ctl::forget_device(&ns, dev.ifindex());
            }
        }
    }
}
