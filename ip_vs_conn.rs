// SPDX-License-Identifier: GPL-2.0
//! Connections: what they are, how they begin and end.
//!
//! A connection is in the table under two hashes: of what the client sends (link 0) and, if it is
//! translated, of what the real server sends (link 1). So one lookup finds the connection of a
//! packet and the direction it goes.
//!
//! Packets take no reference to a connection: RCU keeps it. The table holds the only one, as a rule,
//! and the timer takes the connection out when nobody else has any.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_conn.c

use crate::{
    ip_vs_debug, ip_vs_nfct,
    ip_vs_ns::{work, NsArc, NsRef, NsState},
    ip_vs_svc::Dest,
};
use core::sync::atomic::{AtomicU32, Ordering};
use ipvs_logic::{
    addr::{Af, Endpoint, Port, Proto, Tuple},
    flags::{ConnFlags, FwdMethod},
    table::{desired_size, Current, Limits, Thresholds},
};
use kernel::prelude::*;
use knet::{
    params,
    rcu::{read_lock, Arc, Rcu, Ref, Slot, StaticCache},
    table::{Shape, Table},
    timed::{jiffies, time_before, Expire, Timed, HZ},
    Gfp,
};

/// Table of connections.
pub type ConnTable = Table<Timed<Conn>>;
/// Borrowed reference to a connection.
pub type ConnRef<'g> = Ref<'g, Timed<Conn>>;

/// Where connections are allocated; shows as ip_vs_conn in /proc/slabinfo.
pub static CACHE: StaticCache<Timed<Conn>> = StaticCache::new();

/// When there is no better idea how long a connection should live, in jiffies.
const FIRST_TIMEOUT: u32 = 3 * HZ;
/// How long to wait when a connection cannot end because something still needs it, in jiffies.
const BUSY_TIMEOUT: u32 = 60 * HZ;

/// Link of a connection that a lookup found: which way the packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the client.
    In,
    /// From the real server.
    Out,
}

/// A connection.
pub struct Conn {
    /// The client's side.
    pub client: Endpoint,
    /// What the client talks to.
    pub virt: Endpoint,
    /// The real server's side.
    pub real: Endpoint,
    /// Address family of client and virtual address.
    pub af: Af,
    /// Address family of the real server.
    pub real_af: Af,
    /// Protocol.
    pub proto: Proto,
    /// Flags in the low 24 bits, state of the protocol above: changed together.
    status: AtomicU32,
    /// How long it lives after its last packet, in jiffies.
    timeout: AtomicU32,
    /// Packets from the client.
    in_pkts: AtomicU32,
    /// Firewall mark of the first packet.
    pub fwmark: u32,
    /// How many connections this one controls: it cannot end before them.
    n_control: AtomicU32,
    /// The real server; none if packets go where the client sent them.
    pub dest: Option<Arc<Dest>>,
    /// The connection that controls this one: its template. Empty again before this is freed.
    pub control: Slot<Timed<Conn>>,
    /// The namespace.
    pub ns: NsArc,
}

/// So many bytes are allocated for a connection.
// Locks of timers are larger where they are checked.
#[cfg(not(CONFIG_LOCKDEP))]
const _: () = assert!(StaticCache::<Timed<Conn>>::SIZE <= 256);

/// Flags and state of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Status(u32);

const STATE_SHIFT: u32 = 24;

/// State of a template, a bit: one of its connections has carried something.
const TEMPLATE_ASSURED: u8 = 1;

impl Status {
    /// From flags and state.
    #[inline]
    pub fn new(flags: ConnFlags, state: u8) -> Self {
        Self(flags.bits() | u32::from(state) << STATE_SHIFT)
    }

    /// The flags.
    #[inline]
    pub fn flags(self) -> ConnFlags {
        ConnFlags(self.0 & ((1 << STATE_SHIFT) - 1))
    }

    /// The state, by the protocol's numbers.
    #[inline]
    pub fn state(self) -> u8 {
        (self.0 >> STATE_SHIFT) as u8
    }
}

/// What a new connection is made from.
pub struct Param<'a> {
    /// What the client sends: `src` the client, `dst` the virtual address.
    pub tuple: &'a Tuple,
    /// Family of the real server's address.
    pub real_af: Af,
    /// The real server's address and port.
    pub real: Endpoint,
    /// Flags besides those of the real server.
    pub flags: ConnFlags,
    /// Firewall mark.
    pub fwmark: u32,
}

impl Conn {
    /// Flags and state.
    #[inline]
    pub fn status(&self) -> Status {
        Status(self.status.load(Ordering::Relaxed))
    }

    /// Flags.
    #[inline]
    pub fn flags(&self) -> ConnFlags {
        self.status().flags()
    }

    /// Changes flags and state from `old`, if they are still that.
    #[inline]
    pub fn change_status(&self, old: Status, new: Status) -> Result<(), Status> {
        self.status
            .compare_exchange(old.0, new.0, Ordering::Relaxed, Ordering::Relaxed)
            .map(|_| ())
            .map_err(Status)
    }

    /// Clears flags.
    pub fn clear_flags(&self, flags: ConnFlags) {
        self.status.fetch_and(!flags.bits(), Ordering::Relaxed);
    }

    /// How packets reach the real server.
    #[inline]
    pub fn method(&self) -> Option<FwdMethod> {
        self.flags().fwd()
    }

    /// Whether this is what the client sends.
    #[inline]
    fn is_request(&self, t: &Tuple) -> bool {
        // A client port of 0 is one that is not known yet: a packet cannot have it.
        !t.src.port.is_zero()
            && self.client.addr.v4_be() == t.src.addr.v4_be()
            && self.virt.addr.v4_be() == t.dst.addr.v4_be()
            && self.client.port == t.src.port
            && self.virt.port == t.dst.port
            && self.proto == t.proto
            && self.af == t.af
            && (t.af == Af::Inet
                || (self.client.addr == t.src.addr && self.virt.addr == t.dst.addr))
    }

    /// Whether this is what the real server sends.
    #[inline]
    fn is_reply(&self, t: &Tuple) -> bool {
        self.real.addr.v4_be() == t.src.addr.v4_be()
            && self.client.addr.v4_be() == t.dst.addr.v4_be()
            && self.real.port == t.src.port
            && self.client.port == t.dst.port
            && self.proto == t.proto
            && self.af == t.af
            && (t.af == Af::Inet
                || (self.real.addr == t.src.addr && self.client.addr == t.dst.addr))
    }

    /// Whether this is what the real server sends past translation: it has the virtual address. The
    /// hash is that of what the client sends.
    #[cold]
    fn is_direct_reply(&self, t: &Tuple) -> bool {
        self.virt == t.src
            && self.client == t.dst
            && !t.dst.port.is_zero()
            && self.proto == t.proto
            && self.af == t.af
            && self.method() != Some(FwdMethod::Masq)
    }

    /// How long it lives after its last packet, in jiffies.
    #[inline]
    pub fn timeout(&self) -> u32 {
        self.timeout.load(Ordering::Relaxed)
    }

    /// Says how long it lives after its last packet, in jiffies.
    #[inline]
    pub fn set_timeout(&self, jiffies: u32) {
        self.timeout.store(jiffies, Ordering::Relaxed);
    }

    /// Counts a packet from the client. A race may lose one: nothing depends on it being exact.
    #[inline]
    pub fn count_in(&self) {
        let n = self.in_pkts.load(Ordering::Relaxed);
        self.in_pkts.store(n.wrapping_add(1), Ordering::Relaxed);
    }

    /// Packets from the client.
    pub fn in_pkts(&self) -> u32 {
        self.in_pkts.load(Ordering::Relaxed)
    }

    /// Name of its state.
    pub fn state_name(&self) -> &'static str {
        crate::ip_vs_proto::state_name(self.proto, self.status())
    }

    /// How many connections this one controls.
    #[inline]
    pub fn n_control(&self) -> u32 {
        self.n_control.load(Ordering::Relaxed)
    }

    /// Whether this is the template with this key, and may be followed.
    #[cold]
    fn is_template(&self, key: &Tuple) -> bool {
        let flags = self.flags();
        flags.contains(ConnFlags::TEMPLATE)
            && !flags.contains(ConnFlags::INVALID)
            && self.client == key.src
            && self.virt == key.dst
            && self.proto == key.proto
            && self.af == key.af
    }

    /// No connection follows this template any more.
    pub fn invalidate(&self) {
        let invalid = ConnFlags::INVALID.bits();
        self.status.fetch_or(invalid, Ordering::Relaxed);
    }

    /// The real server's side, as it is shown.
    pub fn shown_real(&self) -> Endpoint {
        if self.flags().contains(ConnFlags::INVALID) {
            Endpoint::new(self.real.addr, Port::from_host(u16::MAX))
        } else {
            self.real
        }
    }

    /// Whether a connection of this template has carried something.
    pub fn is_assured(&self) -> bool {
        self.status().state() & TEMPLATE_ASSURED != 0
    }

    /// A connection carries something: its template is worth keeping.
    #[cold]
    pub fn assure_control(&self) {
        let guard = read_lock();
        let Some(ct) = self.control.load(guard.rcu()) else {
            return;
        };
        if ct.flags().contains(ConnFlags::TEMPLATE) && !ct.is_assured() {
            let assured = u32::from(TEMPLATE_ASSURED) << STATE_SHIFT;
            ct.status.fetch_or(assured, Ordering::Relaxed);
        }
    }

    /// From now on `this` cannot outlive its connections. For a new connection.
    pub fn set_control(&self, control: Arc<Timed<Conn>>) {
        control.n_control.fetch_add(1, Ordering::Relaxed);
        self.control.swap(Some(control));
    }

    /// Gives up what controls it. With the timeout 0 that ends, too, unless it has others or is a
    /// template worth keeping.
    fn clear_control(&self, rcu: Rcu<'_>) {
        let Some(counted) = self.control.swap(None) else {
            return;
        };
        let ct = Arc::as_ref_rcu(&counted, rcu);
        ip_vs_debug::controlled("DELeting", self, ct.value());
        // Its timer looks at `n_control` first, and then finds only the table's reference.
        drop(counted);
        let left = ct.n_control.fetch_sub(1, Ordering::Release).wrapping_sub(1);
        let kept = ct.flags().contains(ConnFlags::TEMPLATE) && ct.is_assured();
        if self.timeout() == 0 && left == 0 && !kept {
            end(ct, rcu);
        }
    }

    /// What the server's counters owe to this connection goes with it. A packet that still has it
    /// changes its state no more.
    fn unbind_dest(&self) {
        let Some(dest) = &self.dest else {
            return;
        };
        ip_vs_debug::unbound(self, dest);
        let ended = ConnFlags::ENDED.bits();
        let last = Status(self.status.fetch_or(ended, Ordering::Relaxed));
        dest.conn_ended(last.flags());
    }
}

/// The connection of a packet, and which way the packet goes.
#[inline(always)]
pub fn lookup<'g>(ns: NsRef<'g>, rcu: Rcu<'g>, t: &Tuple) -> Option<(ConnRef<'g>, Direction)> {
    let hash = t.hash(&ns.value().conn_key);
    let mut direction = Direction::In;
    let (conn, _) = ns.value().conns.find(rcu, hash, |c, link| {
        if link == 0 && c.is_request(t) {
            direction = Direction::In;
            return true;
        }
        direction = Direction::Out;
        if link == 0 {
            c.is_direct_reply(t)
        } else {
            c.is_reply(t)
        }
    })?;
    Some((conn, direction))
}

/// The connection of a packet that goes the given way.
#[cold]
pub fn lookup_to<'g>(
    ns: NsRef<'g>,
    rcu: Rcu<'g>,
    t: &Tuple,
    direction: Direction,
) -> Option<ConnRef<'g>> {
    let hash = t.hash(&ns.value().conn_key);
    let (conn, _) = ns
        .value()
        .conns
        .find(rcu, hash, |c, link| match direction {
            Direction::In => link == 0 && c.is_request(t),
            Direction::Out if link == 0 => c.is_direct_reply(t),
            Direction::Out => c.is_reply(t),
        })?;
    Some(conn)
}

/// The template with this key.
#[cold]
pub fn find_template<'g>(ns: NsRef<'g>, rcu: Rcu<'g>, key: &Tuple) -> Option<ConnRef<'g>> {
    let hash = key.hash(&ns.value().conn_key);
    let (conn, _) = ns
        .value()
        .conns
        .find(rcu, hash, |c, link| link == 0 && c.is_template(key))?;
    Some(conn)
}

/// Makes a connection and puts it in the table, unless it is for one packet. Its timer is not running: see [`start`].
///
/// `None` if there are too many already, or no memory is left.
pub fn create<'g>(
    ns: NsRef<'g>,
    rcu: Rcu<'g>,
    p: &Param<'_>,
    dest: Option<Ref<'g, Dest>>,
) -> Option<ConnRef<'g>> {
    let state = ns.value();
    let max = state.sysctl.conn_max.load(Ordering::Relaxed);
    let count = &state.conn_count;
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
            (n < max).then_some(n.wrapping_add(1))
        })
        .ok()?;
    let conn = create_counted(ns, rcu, p, dest);
    if conn.is_none() {
        count.fetch_sub(1, Ordering::Relaxed);
    } else if state.conns.wants_to_grow() && !state.conn_resize.swap(true, Ordering::Relaxed) {
        NsState::requeue(ns, work::CONN_RESIZE, 0);
    }
    conn
}

fn create_counted<'g>(
    ns: NsRef<'g>,
    rcu: Rcu<'g>,
    p: &Param<'_>,
    dest: Option<Ref<'g, Dest>>,
) -> Option<ConnRef<'g>> {
    let state = ns.value();
    let dest = match dest {
        Some(d) => Some(d.get()?),
        None => None,
    };
    let mut flags = p.flags;
    if let Some(d) = &dest {
        let mut of_dest = d.conn_flags();
        if p.tuple.proto != Proto::UDP || flags.contains(ConnFlags::TEMPLATE) {
            of_dest = of_dest.without(ConnFlags::ONE_PACKET);
        }
        flags |= of_dest;
    }
    if state.sysctl.conntrack.load(Ordering::Relaxed) != 0 {
        flags |= ConnFlags::NFCT;
    }
    let translated = flags.is_masq() && !flags.contains(ConnFlags::TEMPLATE);
    let key = &state.conn_key;
    let reply = Tuple {
        af: p.tuple.af,
        proto: p.tuple.proto,
        src: p.real,
        dst: p.tuple.src,
    };
    let hashes = [Some(p.tuple.hash(key)), translated.then(|| reply.hash(key))];
    let conn = Conn {
        client: p.tuple.src,
        virt: p.tuple.dst,
        real: p.real,
        af: p.tuple.af,
        real_af: p.real_af,
        proto: p.tuple.proto,
        status: AtomicU32::new(Status::new(flags, 0).0),
        timeout: AtomicU32::new(FIRST_TIMEOUT),
        in_pkts: AtomicU32::new(0),
        n_control: AtomicU32::new(0),
        control: Slot::empty(),
        fwmark: p.fwmark,
        dest,
        ns: ns.get()?,
    };
    let deadline = jiffies().wrapping_add(FIRST_TIMEOUT.into());
    let conn = Arc::pin_init_in(Timed::new(conn, deadline), Gfp::Atomic, CACHE.get(rcu)).ok()?;
    let conn = if flags.contains(ConnFlags::ONE_PACKET) {
        // Nobody finds it. RCU keeps it until the packet is gone, and `start` ends it.
        Arc::as_ref_rcu(&conn, rcu)
    } else {
        state.conns.insert(rcu, conn, hashes)?
    };
    if let Some(d) = &conn.value().dest {
        d.conn_began(flags);
        ip_vs_debug::bound(conn.value(), d);
    }
    Some(conn)
}

/// Starts the timer of a new connection: after this it can end at any time. One for one packet ends
/// here.
#[inline]
pub fn start(conn: ConnRef<'_>, rcu: Rcu<'_>) {
    if conn.flags().contains(ConnFlags::ONE_PACKET) {
        return end_one_packet(conn, rcu);
    }
    let deadline = jiffies().wrapping_add(conn.timeout().into());
    Timed::restart(conn, deadline);
}

#[cold]
fn end_one_packet(conn: ConnRef<'_>, rcu: Rcu<'_>) {
    if let Some(ct) = conn.control.load(rcu) {
        ct.count_in();
    }
    conn.clear_control(rcu);
    conn.unbind_dest();
    conn.ns.conn_count.fetch_sub(1, Ordering::Relaxed);
}

/// Gives a connection its full timeout again.
#[inline]
pub fn touch(conn: ConnRef<'_>) {
    conn.touch(jiffies().wrapping_add(conn.timeout().into()));
}

/// Has a connection end as soon as the timer gets to it.
pub fn expire_now(conn: ConnRef<'_>) {
    let now = jiffies();
    if time_before(now, conn.deadline()) {
        conn.touch(now);
    }
}

impl Expire for Conn {
    fn expire(this: ConnRef<'_>, rcu: Rcu<'_>) {
        let controls = this.n_control.load(Ordering::Acquire) != 0;
        let removed = if controls {
            None
        } else {
            this.ns.conns.remove_if_last(this)
        };
        match removed {
            Some(conn) => {
                conn.clear_control(rcu);
                ip_vs_nfct::ended(&conn);
                conn.unbind_dest();
                conn.ns.conn_count.fetch_sub(1, Ordering::Relaxed);
            }
            None => {
                ip_vs_debug::delayed(&this);
                this.set_timeout(BUSY_TIMEOUT);
                Timed::restart(this, jiffies().wrapping_add(BUSY_TIMEOUT.into()));
            }
        }
    }
}

/// Ends a connection now, unless its timer is doing that; what controls it ends with it if nothing
/// needs that any more.
pub fn end(conn: ConnRef<'_>, rcu: Rcu<'_>) {
    if conn.claim() {
        if !conn.control.is_empty() {
            conn.set_timeout(0);
        }
        Conn::expire(conn, rcu);
    }
}

/// Ends all connections of a namespace whose packets have stopped coming. Sleeps.
pub fn flush(ns: &NsArc) {
    while ns.conn_count.load(Ordering::Relaxed) != 0 {
        ns.conns.for_each(0, end);
    }
    ns.conns.clear_buckets();
}

/// Ends the connections of servers that were removed.
pub fn expire_nodest_work(ns: &NsArc) {
    ns.conns.for_each(0, |conn, rcu| {
        let gone = conn.dest.as_ref().is_some_and(|d| !d.is_available());
        if !gone || conn.n_control() != 0 {
            return;
        }
        let control = conn.control.load(rcu);
        end(conn, rcu);
        if let Some(ct) = control.filter(|ct| ct.n_control() == 0) {
            end(ct, rcu);
        }
    });
}

/// Sizes the connection table may have: up to the parameter `conn_tab_bits`, and no more than would
/// be half full if connections took half of all memory.
pub fn table_limits() -> Limits {
    let conn_bits = StaticCache::<Timed<Conn>>::SIZE
        .next_power_of_two()
        .trailing_zeros();
    let by_memory = params::total_ram_bits().saturating_sub(conn_bits);
    Limits::connections(params::conn_tab_bits(), by_memory)
}

/// How large the connection table of a namespace with `count` connections should be.
fn desired_shape(ns: &NsArc, now: Option<Shape>) -> Shape {
    let lfactor = ns.sysctl.conn_lfactor.load(Ordering::Relaxed);
    shape_of(
        table_limits(),
        now,
        ns.conn_count.load(Ordering::Relaxed),
        lfactor,
    )
}

/// The shape for a table with `count` objects.
pub(crate) fn shape_of(limits: Limits, now: Option<Shape>, count: i32, lfactor: i32) -> Shape {
    let current = now.map(|s| Current {
        size: 1 << s.bits,
        lfactor: s.lfactor,
    });
    let size = desired_size(current, count, lfactor, limits);
    Shape {
        bits: size.trailing_zeros(),
        lfactor,
        grow_above: Thresholds::new(size, lfactor, limits).upper,
    }
}

/// Gives the connection table its first buckets. Sleeps.
pub fn prepare_table(ns: &NsArc) -> Result {
    let guard = knet::rcu::read_lock();
    let now = ns.conns.shape(guard.rcu());
    drop(guard);
    if now.is_none() {
        ns.conns.resize(desired_shape(ns, None))?;
        NsState::queue(ns.as_ref(), work::CONN_RESIZE, MONITOR);
    }
    Ok(())
}

/// How often to look whether the table should shrink, in jiffies.
const MONITOR: u64 = 2 * HZ as u64;

/// Makes the connection table larger or smaller if it is time.
pub fn resize_work(ns: &NsArc) {
    ns.conn_resize.store(false, Ordering::Relaxed);
    let guard = knet::rcu::read_lock();
    let now = ns.conns.shape(guard.rcu());
    drop(guard);
    let mut again = MONITOR;
    if now.is_some() {
        let wanted = desired_shape(ns, now);
        let same = now.is_some_and(|s| s.bits == wanted.bits && s.lfactor == wanted.lfactor);
        if !same && ns.conns.resize(wanted).is_err() {
            again = HZ.into();
        }
    }
    NsState::queue(ns.as_ref(), work::CONN_RESIZE, again);
}
