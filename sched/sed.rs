// SPDX-License-Identifier: GPL-2.0
//! Shortest expected delay: the server that one more connection burdens least for its weight.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_sed.c
#![forbid(unsafe_code)]

use ip_vs_rs::{
    ip_vs_sched::{DestRef, Request, Scheduler, Setting},
    knet::rcu::Rcu,
    logic::sched::sed,
    module_scheduler,
};
use kernel::prelude::*;

module_scheduler! {
    type: Sed,
    name: "ip_vs_sed",
    description: "ipvs shortest expected delay scheduler",
    license: "GPL",
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
