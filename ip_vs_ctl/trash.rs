// SPDX-License-Identifier: GPL-2.0
//! Removed real servers that still have connections, or just had. One that is added to its service
//! again goes on as if it had not been away.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_ctl.c

use super::real_server_hash;
use crate::{ip_vs_ns::Ns, ip_vs_svc::Dest};
use core::sync::atomic::Ordering;
use ipvs_logic::ctl::{DestKey, ServiceKey};
use kernel::prelude::*;
use knet::{
    rcu::{self, Arc, Ref},
    table::{Shape, Table},
    timed::{jiffies, time_before, HZ},
};

/// How long they are kept when they have no connections, in jiffies.
pub(super) const PERIOD: u64 = 120 * HZ as u64;

/// Link of the table: packets may still follow the other one, that of `real_servers`.
const LINK: usize = 1;
/// log2 of the fewest and the most buckets.
const BITS: core::ops::RangeInclusive<u32> = 4..=20;

/// The trash of a namespace. Who comes is not sorted in before somebody is looked for: mostly all
/// come, and all go.
pub(super) struct Trash {
    fresh: KVVec<Arc<Dest>>,
    sorted: Table<Dest>,
}

impl Trash {
    /// Empty.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            fresh: KVVec::new(),
            sorted: Table::new(*BITS.start())?,
        })
    }

    fn len(&self) -> usize {
        let sorted = usize::try_from(self.sorted.len()).unwrap_or(0);
        self.fresh.len().saturating_add(sorted)
    }

    /// Whether nobody is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.sorted.is_empty()
    }

    /// Puts a server in that is in no service and not in `real_servers`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. It then is forgotten as soon as its connections are gone: no harm.
    pub(super) fn put(&mut self, dest: Arc<Dest>) -> Result {
        dest.idle_since.store(0, Ordering::Relaxed);
        Ok(self.fresh.push(dest, GFP_KERNEL)?)
    }

    /// The server that was in this service.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn find(
        &mut self,
        ns: &Ns,
        service: &ServiceKey,
        key: &DestKey,
    ) -> Result<Option<Arc<Dest>>> {
        if self.is_empty() {
            return Ok(None);
        }
        self.sort(ns)?;
        let guard = rcu::read_lock();
        let found = self
            .sorted
            .find(guard.rcu(), hash(ns, service, key), |d, link| {
                link == LINK && is_of(d, service, key)
            });
        Ok(found.and_then(|(dest, _)| dest.get()))
    }

    fn sort(&mut self, ns: &Ns) -> Result {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let len = self.len();
        let shape = {
            let guard = rcu::read_lock();
            self.sorted.shape(guard.rcu())
        };
        if shape.is_none_or(|s| len > 1 << s.bits && s.bits < *BITS.end()) {
            let bits = len.ilog2().saturating_add(2);
            self.sorted.resize(Shape {
                bits: bits.clamp(*BITS.start(), *BITS.end()),
                ..Shape::default()
            })?;
        }
        while let Some(dest) = self.fresh.pop() {
            let key = DestKey {
                af: dest.af,
                addr: dest.addr,
                port: dest.port,
            };
            let mut hashes = [None; rcu::LINKS];
            hashes[LINK] = Some(hash(ns, &dest.service, &key));
            let guard = rcu::read_lock();
            // There are buckets, and it is in no other table.
            let _ = self.sorted.insert(guard.rcu(), dest, hashes);
        }
        Ok(())
    }

    /// Takes out a server that was found.
    pub(super) fn remove(&mut self, dest: &Arc<Dest>) {
        drop(self.sorted.remove(dest.as_ref()));
    }

    /// Frees those that have had no connections for a while.
    pub(super) fn expire(&mut self) {
        let now = jiffies();
        self.fresh.retain(|dest| stays(dest.as_ref(), now));
        self.sorted.for_each(LINK, |dest, _| {
            if !stays(dest, now) {
                drop(self.sorted.remove(dest));
            }
        });
        self.sorted.clear_buckets();
    }

    /// Empties it.
    pub(super) fn clear(&mut self) {
        let end = |dest: Ref<'_, Dest>| drop(dest.svc.swap(None));
        while let Some(dest) = self.fresh.pop() {
            end(dest.as_ref());
        }
        self.sorted.for_each(LINK, |dest, _| {
            end(dest);
            drop(self.sorted.remove(dest));
        });
    }
}

fn stays(dest: Ref<'_, Dest>, now: u64) -> bool {
    if dest.count() > 1 {
        return true;
    }
    match dest.idle_since.load(Ordering::Relaxed) {
        0 => {
            dest.idle_since.store(now.max(1), Ordering::Relaxed);
            true
        }
        since => time_before(now, since.wrapping_add(PERIOD)),
    }
}

fn hash(ns: &Ns, service: &ServiceKey, key: &DestKey) -> u32 {
    service.hash(&ns.svc_key) ^ real_server_hash(ns, key.af, &key.addr, key.port)
}

fn is_of(dest: &Dest, service: &ServiceKey, key: &DestKey) -> bool {
    dest.af == key.af
        && dest.addr == key.addr
        && dest.port == key.port
        && dest.service.proto == service.proto
        && dest.service.same(service)
}
