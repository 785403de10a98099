// SPDX-License-Identifier: GPL-2.0
//! Never queue: a server that is idle, or the one with the shortest expected delay.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_nq.c
#![forbid(unsafe_code)]

use ip_vs_rs::{
    ip_vs_sched::{DestRef, Request, Scheduler, Setting},
    knet::rcu::Rcu,
    logic::sched::nq,
    module_scheduler,
};
use kernel::prelude::*;

module_scheduler! {
    type: Nq,
    name: "ip_vs_nq",
    description: "ipvs never queue scheduler",
    license: "GPL",
}

struct Nq;

impl Scheduler for Nq {
    const NAME: &'static CStr = c"nq";

    fn new(_setting: &Setting<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn schedule<'a>(
        &self,
        dests: &'a [DestRef],
        _request: &Request<'_>,
        _rcu: Rcu<'a>,
    ) -> Option<&'a DestRef> {
        dests.get(nq::pick(dests)?)
    }
}
