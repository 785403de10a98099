// SPDX-License-Identifier: GPL-2.0
//! Defense against floods while memory is short: connections are dropped at random, a part of the
//! packets that would open new ones is, and TCP is more careful.
//!
//! C counterparts: `update_defense_level()`, net/netfilter/ipvs/ip_vs_ctl.c, and
//! `ip_vs_random_dropentry()`, net/netfilter/ipvs/ip_vs_conn.c

use crate::{
    ip_vs_conn::{self as conn, ConnRef},
    ip_vs_debug,
    ip_vs_ns::{work, Ns, NsArc, NsRef, NsState},
    ip_vs_persist,
};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicI8, Ordering};
use ipvs_logic::{
    addr::Proto,
    defense::{count_down, step, Memory, MAX_PKTS},
    flags::ConnFlags,
    tcp::State,
};

use knet::{
    params, random, rcu,
    timed::{jiffies, HZ},
};

/// How often the level is looked at, in jiffies.
const PERIOD: u64 = HZ as u64;
/// Connections whose last packet is not that old may still become something, in jiffies.
const GRACE: u64 = 60 * HZ as u64;
/// Of the connection table this part is looked at each time.
const PART_BITS: u32 = 5;

/// What is done at the moment.
#[derive(Default)]
pub struct Defense {
    /// Connections are dropped at random.
    drop_entry: AtomicBool,
    /// One in so many new connections is refused; 0: none.
    drop_rate: AtomicI32,
    /// New connections until the next is refused.
    drop_counter: AtomicI32,
    /// TCP's table for times of attack is in use.
    secure_tcp: AtomicBool,
    /// By number of packets: connections until the next is dropped.
    counters: [AtomicI8; MAX_PKTS],
}

impl Defense {
    /// Whether a client must prove itself before it may hold a connection long.
    #[inline]
    pub fn is_secure_tcp(&self) -> bool {
        self.secure_tcp.load(Ordering::Relaxed)
    }

    /// Whether this packet, which would open a connection, is one to drop. A race may drop one more
    /// or less.
    #[inline]
    pub fn drops_packet(&self) -> bool {
        let rate = self.drop_rate.load(Ordering::Relaxed);
        if rate == 0 {
            return false;
        }
        let left = self.drop_counter.load(Ordering::Relaxed).saturating_sub(1);
        let drop = left <= 0;
        let next = if drop { rate } else { left };
        self.drop_counter.store(next, Ordering::Relaxed);
        drop
    }
}

fn memory(ns: &Ns) -> Memory {
    Memory {
        available: params::free_and_buffer_pages(),
        threshold: ns.sysctl.amemthresh.load(Ordering::Relaxed),
    }
}

/// Moves one mode on, unless somebody has just written another; gives whether it is on.
fn step_mode(mode: &AtomicI32, short: bool) -> bool {
    let old = mode.load(Ordering::Relaxed);
    let (new, on) = step(old, short);
    let _ = mode.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed);
    on
}

/// Looks at memory, and sets what is done.
fn update(ns: &Ns) {
    let (memory, sysctl, defense) = (memory(ns), &ns.sysctl, &ns.defense);
    let short = memory.is_short();
    let on = step_mode(&sysctl.drop_entry, short);
    defense.drop_entry.store(on, Ordering::Relaxed);

    let was_by_memory = sysctl.drop_packet.load(Ordering::Relaxed) != 3;
    let rate = match step_mode(&sysctl.drop_packet, short) {
        false => 0,
        true if was_by_memory => {
            let rate = memory.drop_rate();
            defense.drop_counter.store(rate, Ordering::Relaxed);
            rate
        }
        true => sysctl.am_droprate.load(Ordering::Relaxed),
    };
    defense.drop_rate.store(rate, Ordering::Relaxed);

    let on = step_mode(&sysctl.secure_tcp, short);
    defense.secure_tcp.store(on, Ordering::Relaxed);
}

/// A mode was set: acts on it at once, and from then on every second while a mode is not 0.
pub fn mode_changed(ns: NsRef<'_>) {
    update(ns.value());
    NsState::queue(ns, work::DEFENSE, PERIOD);
}

/// Looks at memory again, and drops connections if it is time.
pub fn work(ns: &NsArc) {
    update(ns);
    if ns.defense.drop_entry.load(Ordering::Relaxed) {
        drop_entries(ns);
    }
    let sysctl = &ns.sysctl;
    let modes = [&sysctl.drop_entry, &sysctl.drop_packet, &sysctl.secure_tcp];
    if modes.iter().any(|m| m.load(Ordering::Relaxed) != 0) {
        NsState::queue(ns.as_ref(), work::DEFENSE, PERIOD);
    }
}

/// Drops some of the connections in a part of the table, which begins anywhere.
fn drop_entries(ns: &Ns) {
    let [start, _] = random::key();
    let mut cursor = start & u64::from(u32::MAX);
    let mut guard = rcu::read_lock();
    let buckets = ns.conns.shape(guard.rcu()).map_or(0, |s| 1u32 << s.bits);
    for n in 0..buckets >> PART_BITS {
        let rcu = guard.rcu();
        let next = ns.conns.walk(rcu, cursor, |c, link| {
            if link == 0 && is_droppable(ns, c, rcu) {
                ip_vs_debug::dropped("connection");
                conn::end(c, rcu);
            }
        });
        cursor = next.unwrap_or(0);
        if n % 32 == 31 {
            guard.resched();
        }
    }
}

fn is_droppable(ns: &Ns, c: ConnRef<'_>, rcu: rcu::Rcu<'_>) -> bool {
    let status = c.status();
    if c.n_control() != 0 {
        return false;
    }
    if status.flags().contains(ConnFlags::TEMPLATE) {
        return match ip_vs_persist::is_kept(c, rcu) {
            Some(kept) => !kept,
            None => is_drawn(ns, c),
        };
    }
    if c.proto == Proto::TCP {
        return match State::from_num(status.state().into()) {
            Some(State::SynRecv | State::SynAck) => true,
            Some(State::Established) => is_drawn(ns, c),
            _ => false,
        };
    }
    is_drawn(ns, c)
}

/// Whether a connection is idle, had few packets, and its number came up.
fn is_drawn(ns: &Ns, c: ConnRef<'_>) -> bool {
    let left = c.deadline().wrapping_sub(jiffies()) as i64;
    let idle = i64::from(c.timeout()).saturating_sub(left);
    if idle < GRACE as i64 {
        return false;
    }
    let n = c.in_pkts() as usize;
    let Some(counter) = n.checked_sub(1).and_then(|i| ns.defense.counters.get(i)) else {
        return false;
    };
    let (next, drop) = count_down(counter.load(Ordering::Relaxed), n);
    counter.store(next, Ordering::Relaxed);
    drop
}
