// SPDX-License-Identifier: GPL-2.0
//! Shortest expected delay: the server that one more connection burdens least for its weight.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_sed.c
#![forbid(unsafe_code)]

use ip_vs_rs::{
    ip_vs_sched::{DestRef, Registration, Request, Scheduler, Setting},
    knet::rcu::Rcu,
    logic::sched::sed,
};
use kernel::prelude::*;

module! {
    type: SedModule,
    name: "ip_vs_sed",
    description: "ipvs shortest expected delay scheduler",
    license: "GPL",
    imports_ns: ["IPVS_RS"],
}

struct Sed;

impl Scheduler for Sed {
    const NAME: &'static CStr = c"sed";

    fn new(_setting: &Setting<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn schedule<'a>(
        &self,
        dests: &'a [DestRef],
        _request: &Request<'_>,
        _rcu: Rcu<'a>,
    ) -> Option<&'a DestRef> {
        dests.get(sed::pick(dests)?)
    }
}

struct SedModule {
    _registration: Registration,
}

impl kernel::Module for SedModule {
    fn init(module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _registration: Registration::new::<Sed>(module)?,
        })
    }
}
