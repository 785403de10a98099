// SPDX-License-Identifier: GPL-2.0
//! Weighted least connection: the server with the fewest connections for its weight.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_wlc.c
#![forbid(unsafe_code)]

use ip_vs_rs::{
    ip_vs_sched::{DestRef, Request, Scheduler, Setting},
    knet::rcu::Rcu,
    logic::sched::wlc,
    module_scheduler,
};
use kernel::prelude::*;

module_scheduler! {
    type: Wlc,
    name: "ip_vs_wlc",
    description: "ipvs weighted least connection scheduler",
    license: "GPL",
}

struct Wlc;

impl Scheduler for Wlc {
    const NAME: &'static CStr = c"wlc";

    fn new(_setting: &Setting<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn schedule<'a>(
        &self,
        dests: &'a [DestRef],
        _request: &Request<'_>,
        _rcu: Rcu<'a>,
    ) -> Option<&'a DestRef> {
        dests.get(wlc::pick(dests)?)
    }
}
