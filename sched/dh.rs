// SPDX-License-Identifier: GPL-2.0
//! Destination hashing: each address of the service has its server.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_dh.c
#![forbid(unsafe_code)]

use ip_vs_rs::{
    ip_vs_sched::{DestRef, Lookup, Registration, Request, Scheduler, Setting},
    knet::rcu::Rcu,
    logic::{addr::Af, sched::dh},
};
use kernel::prelude::*;

module! {
    type: DhModule,
    name: "ip_vs_dh",
    description: "ipvs destination hashing scheduler",
    license: "GPL",
    imports_ns: ["IPVS_RS"],
}

struct Dh {
    af: Af,
    table: Lookup,
}

impl Dh {
    fn assign(&self, dests: &[DestRef]) -> Result {
        let size = if dests.is_empty() { 0 } else { dh::SIZE };
        let mut places = KVec::from_elem(0, size, GFP_KERNEL)?;
        dh::fill(&mut places, dests.len());
        self.table.publish(dests, places)
    }

    /// Makes the table anew. Without memory the old one stays.
    fn update(&self, dests: &[DestRef]) {
        let _ = self.assign(dests);
    }
}

impl Scheduler for Dh {
    const NAME: &'static CStr = c"dh";

    fn new(setting: &Setting<'_>) -> Result<Self> {
        let this = Self {
            af: setting.service.af,
            table: Lookup::new(),
        };
        this.assign(setting.dests)?;
        Ok(this)
    }

    fn schedule<'a>(
        &self,
        _dests: &'a [DestRef],
        request: &Request<'_>,
        rcu: Rcu<'a>,
    ) -> Option<&'a DestRef> {
        let table = self.table.view(rcu)?;
        let bucket = dh::bucket(self.af, request.destination());
        let chosen = dh::pick(table.places, table.dests, bucket)?;
        table.dests.get(chosen)
    }

    fn dest_added(&self, dests: &[DestRef]) {
        self.update(dests);
    }

    fn dest_removed(&self, dests: &[DestRef], _index: usize) {
        self.update(dests);
    }
}

struct DhModule {
    _registration: Registration,
}

impl kernel::Module for DhModule {
    fn init(module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _registration: Registration::new::<Dh>(module)?,
        })
    }
}
