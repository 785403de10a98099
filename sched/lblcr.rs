// SPDX-License-Identifier: GPL-2.0
//! Locality-based least connection with replication: an address stays with its servers, and gets more of
//! them when they are overloaded.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_lblcr.c
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;
use ip_vs_rs::{
    ip_vs_ns::NsState,
    ip_vs_sched::{
        cache::{self, Cache},
        DestRef, Registration, Request, Scheduler, Setting, NO_SERVER,
    },
    knet::{
        net::Net,
        pernet::{Each, EachKey, EachRef, EachRegistration},
        rcu::Rcu,
        sysctl::{Entry, Table},
    },
    logic::sched::{lblc, wlc},
};
use kernel::prelude::*;

module! {
    type: LblcrModule,
    name: "ip_vs_lblcr",
    description: "ipvs locality-based least-connection with replication scheduler",
    license: "GPL",
    imports_ns: ["IPVS_RS"],
}

/// Servers by destination address.
struct Lblcr(Cache);

impl Scheduler for Lblcr {
    const NAME: &'static CStr = c"lblcr";

    fn new(setting: &Setting<'_>) -> Result<Self> {
        let expiration = |ns: &NsState| ns.sysctl.lblcr_expiration.load(Ordering::Relaxed);
        Cache::new(setting, expiration).map(Self)
    }

    fn schedule<'a>(
        &self,
        dests: &'a [DestRef],
        request: &Request<'_>,
        rcu: Rcu<'a>,
    ) -> Option<&'a DestRef> {
        let addr = request.destination();
        if let Some(entry) = self.0.find(addr, rcu) {
            let set = entry.set(rcu).map_or(&[][..], |set| &set.dests);
            let last = lblc::least(set).and_then(|i| set.get(i));
            self.0.thin_out(entry, rcu);
            if let Some(dest) = last.filter(|d| !lblc::is_overloaded(*d, dests)) {
                return Some(dest);
            }
        }
        let dest = dests.get(wlc::pick(dests)?)?;
        self.0.put(addr, dest, true, rcu);
        Some(dest)
    }

    /// Stock is silent about an address that it sees for the first time.
    fn why_none(&self, request: &Request<'_>, rcu: Rcu<'_>) -> Option<&'static str> {
        let entry = self.0.find(request.destination(), rcu);
        entry.map(|_| NO_SERVER)
    }
}

static KEY: EachKey<Settings> = EachKey::new();

/// The sysctl of each namespace.
struct Settings;

static ENTRIES: [Entry<NsState>; 1] = [Entry::jiffies(c"lblcr_expiration", |ns| {
    &ns.sysctl.lblcr_expiration
})];

impl Each for Settings {
    type Item<'n> = Option<Table<'n, NsState>>;

    const KEY: EachRef<Self> = EachRef::new(&KEY);

    fn init<'n>(net: &'n Net) -> Result<Self::Item<'n>> {
        cache::expiration(net, |ns| &ns.sysctl.lblcr_expiration, &ENTRIES)
    }
}

/// Dropped in this order.
struct LblcrModule {
    _registration: Registration,
    _settings: EachRegistration<Settings>,
}

impl kernel::Module for LblcrModule {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let settings = EachRegistration::new()?;
        Ok(Self {
            _registration: Registration::new::<Lblcr>(module)?,
            _settings: settings,
        })
    }
}
