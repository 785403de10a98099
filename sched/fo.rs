// SPDX-License-Identifier: GPL-2.0
//! Weighted failover: the server of the highest weight that is there.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_fo.c
#![forbid(unsafe_code)]

use ip_vs_rs::{
    ip_vs_sched::{DestRef, Request, Scheduler, Setting},
    knet::rcu::Rcu,
    logic::sched::fo,
    module_scheduler,
};
use kernel::prelude::*;

module_scheduler! {
    type: Fo,
    name: "ip_vs_fo",
    description: "ipvs weighted failover scheduler",
    license: "GPL",
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
