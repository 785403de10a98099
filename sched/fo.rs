// SPDX-License-Identifier: GPL-2.0
//! Weighted failover: the server of the highest weight that is there.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_fo.c
#![forbid(unsafe_code)]

use ip_vs_rs::{
    ip_vs_sched::{DestRef, Registration, Request, Scheduler, Setting},
    knet::rcu::Rcu,
    logic::sched::fo,
};
use kernel::prelude::*;

module! {
    type: FoModule,
    name: "ip_vs_fo",
    description: "ipvs weighted failover scheduler",
    license: "GPL",
    imports_ns: ["IPVS_RS"],
}

struct Fo;

impl Scheduler for Fo {
    const NAME: &'static CStr = c"fo";

    fn new(_setting: &Setting<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn schedule<'a>(
        &self,
        dests: &'a [DestRef],
        _request: &Request<'_>,
        _rcu: Rcu<'a>,
    ) -> Option<&'a DestRef> {
        dests.get(fo::pick(dests)?)
    }
}

struct FoModule {
    _registration: Registration,
}

impl kernel::Module for FoModule {
    fn init(module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _registration: Registration::new::<Fo>(module)?,
        })
    }
}
