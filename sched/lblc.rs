// SPDX-License-Identifier: GPL-2.0
//! Locality-based least connection: an address stays with its server.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_lblc.c
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;
use ip_vs_rs::{
    ip_vs_ns::NsState,
    ip_vs_sched::{
        cache::{self, Cache},
        DestRef, Registration, Request, Scheduler, Setting,
    },
    knet::{
        net::Net,
        pernet::{Each, EachKey, EachRef, EachRegistration},
        rcu::Rcu,
        sysctl::{Entry, Table},
    },
    logic::sched::{lblc, wlc, DestView},
};
use kernel::prelude::*;

module! {
    type: LblcModule,
    name: "ip_vs_lblc",
    description: "ipvs locality-based least-connection scheduler",
    license: "GPL",
    imports_ns: ["IPVS_RS"],
}

/// Servers by destination address.
struct Lblc(Cache);

impl Scheduler for Lblc {
    const NAME: &'static CStr = c"lblc";

    fn new(setting: &Setting<'_>) -> Result<Self> {
        let expiration = |ns: &NsState| ns.sysctl.lblc_expiration.load(Ordering::Relaxed);
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
            let last = entry.set(rcu).and_then(|set| set.dests.first());
            // An overload flag does not matter here, as in stock.
            let last = last.filter(|d| d.available() && d.weight() > 0);
            if let Some(dest) = last.filter(|d| !lblc::is_overloaded(*d, dests)) {
                return Some(dest);
            }
        }
        let dest = dests.get(wlc::pick(dests)?)?;
        self.0.put(addr, dest, false, rcu);
        Some(dest)
    }
}

static KEY: EachKey<Settings> = EachKey::new();

/// The sysctl of each namespace.
struct Settings;

static ENTRIES: [Entry<NsState>; 1] = [Entry::jiffies(c"lblc_expiration", |ns| {
    &ns.sysctl.lblc_expiration
})];

impl Each for Settings {
    type Item<'n> = Option<Table<'n, NsState>>;

    const KEY: EachRef<Self> = EachRef::new(&KEY);

    fn init<'n>(net: &'n Net) -> Result<Self::Item<'n>> {
        cache::expiration(net, |ns| &ns.sysctl.lblc_expiration, &ENTRIES)
    }
}

/// Dropped in this order.
struct LblcModule {
    _registration: Registration,
    _settings: EachRegistration<Settings>,
}

impl kernel::Module for LblcModule {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let settings = EachRegistration::new()?;
        Ok(Self {
            _registration: Registration::new::<Lblc>(module)?,
            _settings: settings,
        })
    }
}
