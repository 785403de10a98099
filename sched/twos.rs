// SPDX-License-Identifier: GPL-2.0
//! Power of two choices: of two servers drawn by weight, the less loaded one.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_twos.c
#![forbid(unsafe_code)]

use ip_vs_rs::{
    ip_vs_sched::{DestRef, Request, Scheduler, Setting},
    knet::{random, rcu::Rcu},
    logic::sched::twos,
    module_scheduler,
};
use kernel::prelude::*;

module_scheduler! {
    type: Twos,
    name: "ip_vs_twos",
    description: "ipvs power of twos choice scheduler",
    license: "GPL",
}

struct Twos;

impl Scheduler for Twos {
    const NAME: &'static CStr = c"twos";

    fn new(_setting: &Setting<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn schedule<'a>(
        &self,
        dests: &'a [DestRef],
        _request: &Request<'_>,
        _rcu: Rcu<'a>,
    ) -> Option<&'a DestRef> {
        dests.get(twos::pick(dests, |ceil| twos::below(ceil, random::word))?)
    }
}
