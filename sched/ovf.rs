// SPDX-License-Identifier: GPL-2.0
//! Overflow: the server of the highest weight until it has that many active connections.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_ovf.c
#![forbid(unsafe_code)]

use ip_vs_rs::{
    ip_vs_sched::{DestRef, Request, Scheduler, Setting},
    knet::rcu::Rcu,
    logic::sched::ovf,
    module_scheduler,
};
use kernel::prelude::*;

module_scheduler! {
    type: Ovf,
    name: "ip_vs_ovf",
    description: "ipvs overflow connection scheduler",
    license: "GPL",
}

struct Ovf;

impl Scheduler for Ovf {
    const NAME: &'static CStr = c"ovf";

    fn new(_setting: &Setting<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn schedule<'a>(
        &self,
        dests: &'a [DestRef],
        _request: &Request<'_>,
        _rcu: Rcu<'a>,
    ) -> Option<&'a DestRef> {
        dests.get(ovf::pick(dests)?)
    }
}
