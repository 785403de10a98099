// SPDX-License-Identifier: GPL-2.0
//! Maglev hashing: each client has its server, and few get another when servers come or go.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_mh.c
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;
use ip_vs_rs::{
    ip_vs_sched::{DestRef, Lookup, Registration, Request, Scheduler, Setting},
    knet::rcu::Rcu,
    logic::{
        addr::{Af, Port},
        flags::SvcFlags,
        sched::mh::{self, Setup},
    },
};
use kernel::prelude::*;

module! {
    type: MhModule,
    name: "ip_vs_mh",
    description: "Maglev hashing ipvs scheduler",
    license: "GPL v2",
    imports_ns: ["IPVS_RS"],
}

struct Mh {
    af: Af,
    table: Lookup,
}

impl Mh {
    fn assign(&self, dests: &[DestRef]) -> Result {
        if dests.len() > mh::SIZE {
            return Err(EINVAL);
        }
        let mut setup = KVec::with_capacity(dests.len(), GFP_KERNEL)?;
        for d in dests {
            let last_weight = d.last_weight.load(Ordering::Relaxed);
            setup.push(
                Setup::new(self.af, &d.addr, d.port, last_weight),
                GFP_KERNEL,
            )?;
        }
        let mut places = KVec::from_elem(0, mh::SIZE, GFP_KERNEL)?;
        let mut taken = KVec::from_elem(false, mh::SIZE, GFP_KERNEL)?;
        if !mh::fill(&mut places, &mut taken, &mut setup) {
            places.clear();
        }
        self.table.publish(dests, places)
    }

    /// Makes the table anew. Without memory the old one stays.
    fn update(&self, dests: &[DestRef]) {
        let _ = self.assign(dests);
    }
}

impl Scheduler for Mh {
    const NAME: &'static CStr = c"mh";

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
        let port = if request.flags.contains(SvcFlags::SCHED_MH_PORT) {
            request.client_port()
        } else {
            Port::ZERO
        };
        let client = (self.af, request.client(), port);
        let fallback = request.flags.contains(SvcFlags::SCHED_MH_FALLBACK);
        let chosen = mh::pick(table.places, table.dests, client, fallback)?;
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

struct MhModule {
    _registration: Registration,
}

impl kernel::Module for MhModule {
    fn init(module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _registration: Registration::new::<Mh>(module)?,
        })
    }
}
