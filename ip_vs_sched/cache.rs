// SPDX-License-Identifier: GPL-2.0
//! Tables of destination addresses and the servers they had last, for schedulers by locality.
//!
//! C counterparts: the tables of net/netfilter/ipvs/ip_vs_lblc.c and ip_vs_lblcr.c

use super::{DestRef, Setting};
use crate::ip_vs_ns::{Namespaces, NsArc, NsState};
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use ipvs_logic::{
    addr::{Addr, Af},
    sched::lblc::{self, Check},
};
use kernel::prelude::*;
use knet::{
    lock::SpinLockBh,
    net::Net,
    pernet,
    rcu::{Arc, Object, Rcu, Ref, Slot},
    sysctl,
    table::{Shape, Table},
    timed::{jiffies, time_before, Expire, Timed, HZ},
    Gfp,
};

/// Servers of an address, the newest first; replaced as a whole on change.
pub struct Set {
    /// The servers.
    pub dests: KVec<DestRef>,
    /// When it became this, in jiffies.
    pub since: u64,
}

impl Object for Set {}

impl Set {
    /// With `first` before those of `old`, but without the one at `without`. Packets make these.
    fn make(first: Option<&DestRef>, old: &[DestRef], without: Option<usize>) -> Result<Arc<Self>> {
        let mut dests = KVec::with_capacity(old.len().saturating_add(1), GFP_ATOMIC)?;
        let kept = old.iter().enumerate().filter(|(i, _)| Some(*i) != without);
        for dest in Iterator::chain(first.into_iter(), kept.map(|(_, d)| d)) {
            dests.push(dest.clone(), GFP_ATOMIC)?;
        }
        let since = jiffies();
        Ok(Arc::new(Self { dests, since }, Gfp::Atomic)?)
    }
}

/// An address.
pub struct Entry {
    addr: Addr,
    used: AtomicU64,
    set: Slot<Set>,
}

impl Object for Entry {}

impl Entry {
    /// Its servers.
    pub fn set<'g>(&self, rcu: Rcu<'g>) -> Option<&'g Set> {
        Some(self.set.load(rcu)?.value())
    }
}

/// Where the looks at a table stand.
struct Looks {
    counter: u32,
    cursor: u64,
}

struct Remembered {
    ns: NsArc,
    af: Af,
    expiration: fn(&NsState) -> i32,
    entries: Table<Entry>,
    /// Changes of sets and looks one at a time.
    looks: Pin<KBox<SpinLockBh<Looks>>>,
}

/// A table of addresses. What was not used for long goes by itself.
pub struct Cache(Arc<Timed<Remembered>>);

/// log2 of the table's locks: there is no more than one packet and the timer that want one.
const STRIPE_BITS: u32 = 4;

/// Jiffies of a number of seconds.
fn time(seconds: u32) -> u64 {
    u64::from(seconds).wrapping_mul(u64::from(HZ))
}

impl Cache {
    /// An empty table. `expiration` tells after how many jiffies an unused entry goes. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(setting: &Setting<'_>, expiration: fn(&NsState) -> i32) -> Result<Self> {
        let entries = Table::new(STRIPE_BITS)?;
        entries.resize(Shape {
            bits: lblc::TABLE_BITS,
            lfactor: 0,
            grow_above: i32::MAX,
        })?;
        let looks = Looks {
            counter: 1,
            // Stock begins with the second bucket.
            cursor: 1 << (u32::BITS - lblc::TABLE_BITS),
        };
        let remembered = Remembered {
            ns: setting.ns.clone(),
            af: setting.service.af,
            expiration,
            entries,
            looks: KBox::pin_init(SpinLockBh::new(looks), GFP_KERNEL)?,
        };
        let next = jiffies().wrapping_add(time(lblc::CHECK_INTERVAL));
        let this = Arc::pin_init(Timed::new(remembered, next), Gfp::Kernel)?;
        Timed::restart(this.as_ref(), next);
        Ok(Self(this))
    }

    /// The entry of an address, which is used by that.
    #[inline]
    pub fn find<'g>(&self, addr: &Addr, rcu: Rcu<'g>) -> Option<&'g Entry> {
        let entry = self.0.find(addr, rcu)?;
        entry.used.store(jiffies(), Ordering::Relaxed);
        Some(entry)
    }

    /// `dest` is a server of an address from now on, besides others or alone. Without memory, or
    /// with too many entries, nothing changes.
    pub fn put(&self, addr: &Addr, dest: &DestRef, besides: bool, rcu: Rcu<'_>) {
        let this = &self.0;
        let _lock = this.looks.lock();
        let Some(entry) = this.find(addr, rcu) else {
            if lblc::is_full(this.entries.len()) {
                return;
            }
            let Ok(set) = Set::make(Some(dest), &[], None) else {
                return;
            };
            let entry = Entry {
                addr: *addr,
                used: AtomicU64::new(jiffies()),
                set: Slot::new(Some(set)),
            };
            if let Ok(entry) = Arc::new(entry, Gfp::Atomic) {
                let hash = lblc::hash(this.af, addr);
                this.entries.insert(rcu, entry, [Some(hash), None]);
            }
            return;
        };
        let old = entry.set(rcu).map_or(&[][..], |set| &set.dests);
        if old.iter().any(|d| d.same(dest)) {
            return;
        }
        let others = if besides { old } else { &[] };
        if let Ok(set) = Set::make(Some(dest), others, None) {
            entry.set.swap(Some(set));
        }
    }

    /// Takes the most loaded server out of the set of an address if there are several, and the set
    /// was not changed for the time of the expiration.
    pub fn thin_out(&self, entry: &Entry, rcu: Rcu<'_>) {
        let this = &self.0;
        let is_due = |set: &Set| {
            let due = set.since.wrapping_add(this.expiration());
            set.dests.len() > 1 && time_before(due, jiffies())
        };
        if !entry.set(rcu).is_some_and(is_due) {
            return;
        }
        let _lock = this.looks.lock();
        let Some(set) = entry.set(rcu).filter(|set| set.dests.len() > 1) else {
            return;
        };
        let Some(most) = lblc::most(&set.dests) else {
            return;
        };
        if let Ok(set) = Set::make(None, &set.dests, Some(most)) {
            entry.set.swap(Some(set));
        }
    }
}

impl Remembered {
    #[inline]
    fn find<'g>(&self, addr: &Addr, rcu: Rcu<'g>) -> Option<&'g Entry> {
        let hash = lblc::hash(self.af, addr);
        let (entry, _) = self.entries.find(rcu, hash, |e, _| e.addr == *addr)?;
        Some(entry.value())
    }

    fn expiration(&self) -> u64 {
        i64::from((self.expiration)(&self.ns)) as u64
    }

    /// Takes out what was not used for `age`, about `goal` entries, from where the last look ended.
    fn sweep(&self, rcu: Rcu<'_>, age: u64, mut goal: i32, cursor: &mut u64) {
        let now = jiffies();
        for _ in 0..1u32 << lblc::TABLE_BITS {
            let next = self.entries.walk(rcu, *cursor, |entry, _| {
                let used = entry.value().used.load(Ordering::Relaxed);
                if !time_before(now, used.wrapping_add(age)) {
                    drop(self.entries.remove(entry));
                    goal = goal.saturating_sub(1);
                }
            });
            *cursor = next.unwrap_or(0);
            if goal <= 0 {
                break;
            }
        }
    }
}

impl Expire for Remembered {
    fn expire(this: Ref<'_, Timed<Self>>, rcu: Rcu<'_>) {
        let table = this.value();
        let mut looks = table.looks.lock();
        let check = lblc::check(&mut looks.counter, table.entries.len());
        let mut cursor = looks.cursor;
        drop(looks);
        match check {
            Check::Full => table.sweep(rcu, table.expiration(), i32::MAX, &mut cursor),
            Check::Some(goal) => table.sweep(rcu, time(lblc::ENTRY_TIMEOUT), goal, &mut cursor),
            Check::Nothing => {}
        }
        table.looks.lock().cursor = cursor;
        let next = jiffies().wrapping_add(time(lblc::CHECK_INTERVAL));
        Timed::restart(this, next);
    }
}

/// The sysctl of a namespace for the time after which unused entries go, as its only one in `entries`, with
/// what stock starts with. `None` in namespaces of other users.
///
/// # Errors
///
/// `ENOMEM`, or `ENOENT` without ip_vs.
pub fn expiration<'n>(
    net: &'n Net,
    at: fn(&NsState) -> &AtomicI32,
    entries: &'static [sysctl::Entry<NsState>; 1],
) -> Result<Option<sysctl::Table<'n, NsState>>> {
    let ns = pernet::get::<Namespaces>(net).ok_or(ENOENT)?;
    let default = HZ.wrapping_mul(lblc::EXPIRATION) as i32;
    at(&ns).store(default, Ordering::Relaxed);
    if !net.is_init() && !net.is_privileged() {
        return Ok(None);
    }
    sysctl::Table::new(net, c"net/ipv4/vs", ns, entries).map(Some)
}
