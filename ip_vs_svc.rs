// SPDX-License-Identifier: GPL-2.0
//! Services, their real servers, and what is counted for both.
//!
//! C counterpart: `struct ip_vs_service`, `struct ip_vs_dest`, include/net/ip_vs.h

use crate::{
    ip_vs_ns::NsState,
    ip_vs_sched::{Bound, DestRef, Request},
};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU16, AtomicU32, AtomicU64, Ordering};
use ipvs_logic::{
    addr::{Addr, Af, Port},
    conns::Conns,
    ctl::{DestConf, DestKey, ServiceKey},
    est::{self, Estimator},
    flags::{ConnFlags, SvcFlags},
    overload,
    stats::Rates,
};
use kernel::{prelude::*, sync};
use knet::{
    front_vec::FrontVec,
    lock::SpinLockBh,
    module::ModuleRef,
    percpu::{Counters, Pool},
    rcu::{Object, Rcu, Ref, Slot},
    route::Route,
    route6::Route6,
};

/// Packets, bytes and connections, and their rates.
///
/// Without locks: only the estimation's threads change `last` and `average`, no two at once, and who
/// reads rates while these do may see some of the old and some of the new ones.
pub struct Stats {
    cpus: Counters<5>,
    /// What the counters were when they were last zeroed.
    zero: [AtomicU64; 5],
    /// What the counters were when they were last sampled.
    last: [AtomicU64; 5],
    /// The sum of `last`.
    last_total: AtomicU64,
    /// Averages of rates, scaled.
    average: [AtomicU64; 5],
    /// The tick of the last sample; 0 before the first.
    sampled: AtomicU32,
    /// Zeroed since they were last sampled.
    zeroed: AtomicBool,
    /// All averages are 0.
    still: AtomicBool,
}

/// Where memory of [`Stats`] comes from.
pub type StatsPool = Pool<5>;

/// What is counted, as numbers of `Counters`.
const CONNS: usize = 0;
const IN_PKTS: usize = 1;
const OUT_PKTS: usize = 3;

impl Stats {
    /// All at 0. Sleeps.
    pub fn new(pool: &mut StatsPool) -> Result<Self> {
        Ok(Self {
            cpus: Counters::new(pool)?,
            zero: Default::default(),
            last: Default::default(),
            last_total: AtomicU64::new(0),
            average: Default::default(),
            sampled: AtomicU32::new(0),
            zeroed: AtomicBool::new(false),
            still: AtomicBool::new(true),
        })
    }

    fn export([conns, inpkts, inbytes, outpkts, outbytes]: [u64; 5]) -> Totals {
        Totals {
            conns,
            inpkts,
            outpkts,
            inbytes,
            outbytes,
        }
    }

    /// What was counted since it was last zeroed.
    pub fn totals(&self) -> Totals {
        let mut sum = self.cpus.sum();
        for (s, z) in sum.iter_mut().zip(&self.zero) {
            *s = s.wrapping_sub(z.load(Ordering::Relaxed));
        }
        Self::export(sum)
    }

    /// What one CPU counted ever; `None` if there cannot be such a CPU.
    pub fn of_cpu(&self, cpu: u32) -> Option<Totals> {
        self.cpus.of_cpu(cpu).map(Self::export)
    }

    /// Counts from 0 again.
    pub fn zero(&self) {
        for (z, s) in self.zero.iter().zip(self.cpus.sum()) {
            z.store(s, Ordering::Relaxed);
        }
        self.zeroed.store(true, Ordering::Release);
    }

    /// Counters and rates, as they are shown.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            counters: self.totals(),
            rates: if self.zeroed.load(Ordering::Relaxed) {
                Rates::default()
            } else {
                self.estimator().rates()
            },
        }
    }

    fn estimator(&self) -> Estimator {
        let [cps, inpps, inbps, outpps, outbps] = load(&self.average);
        Estimator {
            last: Self::export(load(&self.last)),
            avg: Rates {
                cps,
                inpps,
                outpps,
                inbps,
                outbps,
            },
        }
    }

    fn set_average(&self, r: &Rates) {
        let avg = [r.cps, r.inpps, r.inbps, r.outpps, r.outbps];
        store(&self.average, avg);
    }

    /// Estimates rates anew, once a tick at most.
    #[inline]
    pub fn sample(&self, tick: u32) {
        let tick = tick.max(1);
        let before = self.sampled.swap(tick, Ordering::Relaxed);
        if before == tick {
            return;
        }
        let changes = self.zeroed.load(Ordering::Relaxed) || !self.still.load(Ordering::Relaxed);
        // None of the counters can go down, so one number tells whether any has changed.
        if changes || self.cpus.total() != self.last_total.load(Ordering::Relaxed) {
            self.update(before, tick);
        }
    }

    /// Estimates rates anew, which can have changed since the tick `before`.
    #[inline(never)]
    fn update(&self, before: u32, tick: u32) {
        let mut periods = match before {
            0 => 1,
            _ => est::periods(before, tick),
        };
        let mut estimator = self.estimator();
        if self.zeroed.load(Ordering::Relaxed) {
            // Readers see rates of 0 all the time. If it is zeroed right now, that is seen next.
            self.set_average(&Rates::default());
            self.zeroed.swap(false, Ordering::AcqRel);
            estimator = Estimator::zero(&Self::export(load(&self.zero)));
            periods = 1;
        }
        let now = self.cpus.sum();
        estimator.sample(&Self::export(now), periods);
        store(&self.last, now);
        let total = now.iter().copied().fold(0, u64::wrapping_add);
        self.last_total.store(total, Ordering::Relaxed);
        self.set_average(&estimator.avg);
        let still = estimator.avg == Rates::default();
        self.still.store(still, Ordering::Relaxed);
    }
}

fn load(from: &[AtomicU64; 5]) -> [u64; 5] {
    from.each_ref().map(|n| n.load(Ordering::Relaxed))
}

fn store(to: &[AtomicU64; 5], values: [u64; 5]) {
    for (to, value) in to.iter().zip(values) {
        to.store(value, Ordering::Relaxed);
    }
}

/// Counters and rates of one moment.
pub use ipvs_logic::stats::Stats as Snapshot;

/// A snapshot of what was counted.
pub use ipvs_logic::stats::Counters as Totals;

/// A virtual service.
#[pin_data]
pub struct Service {
    /// What it is found by.
    pub key: ServiceKey,
    flags: AtomicU32,
    /// How long a client stays with its server, in jiffies.
    pub timeout: AtomicU32,
    /// Which clients count as one: mask, or prefix length, in network order as given.
    pub netmask: AtomicU32,
    /// Packets of the service.
    pub stats: Stats,
    /// Its real servers and scheduler: replaced as a whole on change, but for servers that are added.
    /// Counted under `control` only: what keeps the scheduler's module is exchanged with it.
    pub roster: Slot<Roster>,
    /// Keeps the scheduler's module loaded, so it goes after the scheduler: the last field. Changed
    /// under `control`.
    #[pin]
    pub sched_module: SpinLockBh<Option<ModuleRef>>,
}

impl Object for Service {}

impl Service {
    /// A service that is not in the table yet.
    pub fn new(key: ServiceKey, pool: &mut StatsPool) -> Result<impl PinInit<Self, Error>> {
        let stats = Stats::new(pool)?;
        Ok(try_pin_init!(Self {
            key,
            flags: AtomicU32::new(0),
            timeout: AtomicU32::new(0),
            netmask: AtomicU32::new(0),
            stats,
            roster: Slot::empty(),
            sched_module <- SpinLockBh::new(None),
        }? Error))
    }

    /// Flags.
    #[inline]
    pub fn flags(&self) -> SvcFlags {
        SvcFlags(self.flags.load(Ordering::Relaxed))
    }

    /// Changes the flags.
    pub fn set_flags(&self, flags: SvcFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }

    /// Whether it is found by firewall mark.
    pub fn is_fwmark(&self) -> bool {
        self.key.is_fwmark()
    }
}

/// Real servers of a service, the newest first, and the scheduler that chooses among them.
pub struct Roster {
    /// The servers. Changed under `control`.
    pub dests: FrontVec<DestRef, { Roster::ROOM }>,
    /// The scheduler; none is possible.
    pub sched: Option<sync::Arc<Bound>>,
}

impl Object for Roster {}

impl Roster {
    /// How many servers more there is room for in one that is made. Fewer need no array of their own.
    pub const ROOM: usize = 8;

    /// The server for a new connection.
    pub fn choose<'g>(
        this: Ref<'g, Self>,
        request: &Request<'_>,
        rcu: Rcu<'g>,
    ) -> Option<Ref<'g, Dest>> {
        let roster = this.value();
        roster.sched.as_ref()?.choose(&roster.dests, request, rcu)
    }

    /// The server with this address and port, and where it stands.
    pub fn find(&self, key: &DestKey) -> Option<(usize, &DestRef)> {
        self.dests
            .iter()
            .enumerate()
            .find(|(_, d)| d.af == key.af && d.addr == key.addr && d.port == key.port)
    }
}

/// What schedulers look at in each server: in one line of the cache.
#[repr(align(16))]
struct Seen {
    conns: AtomicU64,
    weight: AtomicI32,
    /// More connections than it should have.
    overloaded: AtomicBool,
}

/// A real server of a service.
#[pin_data]
pub struct Dest {
    /// Family of its address.
    pub af: Af,
    /// Its address.
    pub addr: Addr,
    /// Its port; 0 is that of the client's packet.
    pub port: Port,
    /// The service it was made for.
    pub service: ServiceKey,
    /// Flags that connections get.
    conn_flags: AtomicU32,
    /// In the trash: since when it has had no connections, in jiffies; 0 if it had some when last
    /// looked at.
    pub idle_since: AtomicU64,
    /// Weight it had last that was not 0.
    pub last_weight: AtomicI32,
    /// In a service, not in the trash.
    available: AtomicBool,
    seen: Seen,
    /// Templates.
    pub persistent: AtomicI32,
    /// Thresholds of its number of connections: the given ones.
    pub u_threshold: AtomicU32,
    /// See `u_threshold`.
    pub l_threshold: AtomicU32,
    /// Makes threshold, number and flag agree.
    #[pin]
    overload_lock: SpinLockBh<()>,
    /// Tunnel: type.
    pub tun_type: AtomicU16,
    /// Tunnel: port, in network order.
    pub tun_port: AtomicU16,
    /// Tunnel: flags.
    pub tun_flags: AtomicU16,
    /// Packets of the server.
    pub stats: Stats,
    /// The service it is in, or was in last.
    pub svc: Slot<Service>,
    /// The way to it.
    pub route: Slot<Route>,
    /// The same, if it has an IPv6 address.
    pub route6: Slot<Route6>,
}

impl Object for Dest {}

impl Dest {
    /// A server that is in no service yet.
    pub fn new(
        key: &DestKey,
        service: ServiceKey,
        pool: &mut StatsPool,
    ) -> Result<impl PinInit<Self, Error>> {
        let stats = Stats::new(pool)?;
        let (af, addr, port) = (key.af, key.addr, key.port);
        Ok(try_pin_init!(Self {
            af,
            addr,
            port,
            service,
            conn_flags: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            last_weight: AtomicI32::new(0),
            available: AtomicBool::new(false),
            seen: Seen {
                conns: AtomicU64::new(Conns::NONE.bits()),
                weight: AtomicI32::new(0),
                overloaded: AtomicBool::new(false),
            },
            persistent: AtomicI32::new(0),
            u_threshold: AtomicU32::new(0),
            l_threshold: AtomicU32::new(0),
            overload_lock <- SpinLockBh::new(()),
            tun_type: AtomicU16::new(0),
            tun_port: AtomicU16::new(0),
            tun_flags: AtomicU16::new(0),
            stats,
            svc: Slot::new(None),
            route: Slot::new(None),
            route6: Slot::new(None),
        }? Error))
    }

    /// Takes over a configuration.
    pub fn configure(&self, conf: &DestConf, is_new: bool) {
        if is_new || conf.weight != 0 {
            self.last_weight.store(conf.weight, Ordering::Relaxed);
        }
        self.seen.weight.store(conf.weight, Ordering::Relaxed);
        let flags = conf.effective_flags();
        self.conn_flags.store(flags.bits(), Ordering::Relaxed);
        self.tun_type.store(conf.tun_type, Ordering::Relaxed);
        self.tun_port.store(conf.tun_port.be(), Ordering::Relaxed);
        self.tun_flags.store(conf.tun_flags, Ordering::Relaxed);
        let _lock = self.overload_lock.lock();
        self.u_threshold.store(conf.u_threshold, Ordering::Relaxed);
        self.l_threshold.store(conf.l_threshold, Ordering::Relaxed);
        self.update_overload(overload::Mode::Configured);
    }

    /// Flags that connections get.
    #[inline]
    pub fn conn_flags(&self) -> ConnFlags {
        ConnFlags(self.conn_flags.load(Ordering::Relaxed))
    }

    /// Its share of new connections.
    #[inline]
    pub fn weight(&self) -> i32 {
        self.seen.weight.load(Ordering::Relaxed)
    }

    /// Whether it is in a service.
    #[inline]
    pub fn is_available(&self) -> bool {
        self.available.load(Ordering::Relaxed)
    }

    /// Says whether it is in a service.
    pub fn set_available(&self, yes: bool) {
        self.available.store(yes, Ordering::Relaxed);
    }

    /// Whether it has more connections than it should.
    #[inline]
    pub fn is_overloaded(&self) -> bool {
        self.seen.overloaded.load(Ordering::Relaxed)
    }

    /// How many connections it has.
    #[inline]
    pub fn conns(&self) -> Conns {
        Conns::from_bits(self.seen.conns.load(Ordering::Relaxed))
    }

    /// A connection became active, or stopped being that.
    #[inline]
    pub fn set_conn_active(&self, active: bool) {
        let conns = &self.seen.conns;
        if active {
            conns.fetch_add(Conns::ACTIVE, Ordering::Relaxed);
        } else {
            conns.fetch_sub(Conns::ACTIVE, Ordering::Relaxed);
        }
    }

    /// A connection with these flags was bound to it.
    #[inline]
    pub fn conn_began(&self, flags: ConnFlags) {
        if flags.contains(ConnFlags::TEMPLATE) {
            self.persistent.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let one = Self::one(flags);
        let before = self.seen.conns.fetch_add(one, Ordering::Relaxed);
        let total = Conns::from_bits(before.wrapping_add(one)).total();
        if total as u32 == self.u_threshold.load(Ordering::Relaxed) {
            let _lock = self.overload_lock.lock();
            self.update_overload(overload::Mode::Added);
        }
    }

    /// A connection with these flags is gone.
    #[inline]
    pub fn conn_ended(&self, flags: ConnFlags) {
        if flags.contains(ConnFlags::TEMPLATE) {
            self.persistent.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let before = self
            .seen
            .conns
            .fetch_sub(Self::one(flags), Ordering::Relaxed);
        let total = Conns::from_bits(before).total();
        if self.u_threshold.load(Ordering::Relaxed) != 0 && total as u32 == self.lower_threshold() {
            let _lock = self.overload_lock.lock();
            self.update_overload(overload::Mode::Removed);
        }
    }

    /// What a connection with these flags counts.
    #[inline]
    fn one(flags: ConnFlags) -> u64 {
        if flags.contains(ConnFlags::INACTIVE) {
            Conns::ONE
        } else {
            Conns::ONE.wrapping_add(Conns::ACTIVE)
        }
    }

    fn lower_threshold(&self) -> u32 {
        overload::lower(
            self.u_threshold.load(Ordering::Relaxed),
            self.l_threshold.load(Ordering::Relaxed),
        )
    }

    /// Called with `overload_lock` held.
    fn update_overload(&self, mode: overload::Mode) {
        let now = overload::update(
            self.u_threshold.load(Ordering::Relaxed),
            self.l_threshold.load(Ordering::Relaxed),
            self.conns().total(),
            mode,
            self.is_overloaded(),
        );
        self.seen.overloaded.store(now, Ordering::Relaxed);
    }

    /// Forgets the way to it.
    pub fn reset_route(&self) {
        self.route.swap(None);
        self.route6.swap(None);
    }

    /// Forwarding method and tunnel as they are now.
    fn method_conf(&self) -> DestConf {
        DestConf {
            conn_flags: self.conn_flags(),
            tun_type: self.tun_type.load(Ordering::Relaxed),
            tun_port: self.tunnel_port(),
            tun_flags: self.tun_flags.load(Ordering::Relaxed),
            ..DestConf::default()
        }
    }

    /// Port of its tunnel.
    #[inline]
    pub fn tunnel_port(&self) -> Port {
        Port::from_be(self.tun_port.load(Ordering::Relaxed))
    }

    /// Port that `real_servers` finds it by: the one that replies come from, or that of its tunnel.
    /// `None` if it is not in there.
    pub fn table_port(&self) -> Option<Port> {
        self.method_conf().real_server_port(self.port)
    }

    /// Whether with this configuration it has another place in `real_servers`.
    pub fn conf_moves(&self, conf: &DestConf) -> bool {
        conf.moves_real_server(&self.method_conf())
    }
}

/// Counts a packet from the client.
#[inline]
pub fn count_in(ns: &NsState, dest: &Dest, rcu: Rcu<'_>, bytes: u32) {
    if let (true, Some(svc)) = (dest.is_available(), dest.svc.load(rcu)) {
        Counters::count3::<IN_PKTS>(&dest.stats.cpus, &svc.stats.cpus, &ns.stats.cpus, bytes);
    }
}

/// Counts a packet from the real server.
#[inline]
pub fn count_out(ns: &NsState, dest: &Dest, rcu: Rcu<'_>, bytes: u32) {
    if let (true, Some(svc)) = (dest.is_available(), dest.svc.load(rcu)) {
        Counters::count3::<OUT_PKTS>(&dest.stats.cpus, &svc.stats.cpus, &ns.stats.cpus, bytes);
    }
}

/// Counts a connection.
#[inline]
pub fn count_conn(ns: &NsState, dest: &Dest, svc: &Service) {
    Counters::inc3::<CONNS>(&dest.stats.cpus, &svc.stats.cpus, &ns.stats.cpus);
}
