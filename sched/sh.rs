// SPDX-License-Identifier: GPL-2.0
//! Source hashing: each client has its server.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_sh.c
#![forbid(unsafe_code)]

use ip_vs_rs::{
    ip_vs_sched::{DestRef, Lookup, Registration, Request, Scheduler, Setting},
    knet::rcu::Rcu,
    logic::{
        addr::{Af, Port},
        flags::SvcFlags,
        sched::sh,
    },
};
use kernel::prelude::*;

module! {
    type: ShModule,
    name: "ip_vs_sh",
    description: "ipvs source hashing scheduler",
    license: "GPL",
    imports_ns: ["IPVS_RS"],
}

struct Sh {
    af: Af,
    table: Lookup,
}

impl Sh {
    fn assign(&self, dests: &[DestRef]) -> Result {
        let size = if dests.is_empty() { 0 } else { sh::SIZE };
        let mut places = KVec::from_elem(0, size, GFP_KERNEL)?;
        sh::fill(&mut places, dests);
        self.table.publish(dests, places)
    }

    /// Makes the table anew. Without memory the old one stays.
    fn update(&self, dests: &[DestRef]) {
        let _ = self.assign(dests);
    }
}

impl Scheduler for Sh {
    const NAME: &'static CStr = c"sh";

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
        let port = if request.flags.contains(SvcFlags::SCHED_SH_PORT) {
            request.client_port()
        } else {
            Port::ZERO
        };
        let bucket = sh::bucket(self.af, request.client(), port);
        let fallback = request.flags.contains(SvcFlags::SCHED_SH_FALLBACK);
        let chosen = sh::pick(table.places, table.dests, bucket, fallback)?;
        table.dests.get(chosen)
    }

    fn dest_added(&self, dests: &[DestRef]) {
        self.update(dests);
    }

    fn dest_removed(&self, dests: &[DestRef], _index: usize) {
        self.update(dests);
    }

    fn dest_changed(&self, dests: &[DestRef]) {
        self.update(dests);
    }
}

struct ShModule {
    _registration: Registration,
}

impl kernel::Module for ShModule {
    fn init(module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _registration: Registration::new::<Sh>(module)?,
        })
    }
}
