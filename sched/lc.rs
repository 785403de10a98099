// SPDX-License-Identifier: GPL-2.0
//! Least connection: the server with the fewest connections.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_lc.c
#![forbid(unsafe_code)]

use ip_vs_rs::{
    ip_vs_sched::{DestRef, Request, Scheduler, Setting},
    knet::rcu::Rcu,
    logic::sched::lc,
    module_scheduler,
};
use kernel::prelude::*;

module_scheduler! {
    type: Lc,
    name: "ip_vs_lc",
    description: "ipvs least connection scheduler",
    license: "GPL",
}

struct Lc;

impl Scheduler for Lc {
    const NAME: &'static CStr = c"lc";

    fn new(_setting: &Setting<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn schedule<'a>(
        &self,
        dests: &'a [DestRef],
        _request: &Request<'_>,
        _rcu: Rcu<'a>,
    ) -> Option<&'a DestRef> {
        dests.get(lc::pick(dests)?)
    }
}
