// SPDX-License-Identifier: GPL-2.0
//! Weighted round robin: one server after the other, those of more weight more often.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_wrr.c
#![forbid(unsafe_code)]

use ip_vs_rs::{
    ip_vs_sched::{DestRef, Request, Scheduler, Setting, NO_SERVER},
    knet::{lock::SpinLockBh, rcu::Rcu},
    logic::sched::wrr::State,
    module_scheduler,
};
use kernel::prelude::*;

module_scheduler! {
    type: Wrr,
    name: "ip_vs_wrr",
    description: "ipvs weighted round-robin scheduler",
    license: "GPL",
}

/// Where the rounds stand. Each choice moves it, so choices wait for each other, as in stock.
struct Wrr(Pin<KBox<SpinLockBh<State>>>);

impl Scheduler for Wrr {
    const NAME: &'static CStr = c"wrr";

    fn new(setting: &Setting<'_>) -> Result<Self> {
        let state = SpinLockBh::new(State::new(setting.dests));
        Ok(Self(KBox::pin_init(state, GFP_KERNEL)?))
    }

    fn schedule<'a>(
        &self,
        dests: &'a [DestRef],
        _request: &Request<'_>,
        _rcu: Rcu<'a>,
    ) -> Option<&'a DestRef> {
        let index = self.0.lock().pick(dests)?;
        dests.get(index)
    }

    fn why_none(&self, _request: &Request<'_>, _rcu: Rcu<'_>) -> Option<&'static str> {
        Some(if self.0.lock().has_weight() {
            "no destination available: all destinations are overloaded"
        } else {
            NO_SERVER
        })
    }

    fn dest_added(&self, dests: &[DestRef]) {
        self.dest_changed(dests);
    }

    fn dest_removed(&self, dests: &[DestRef], _index: usize) {
        self.dest_changed(dests);
    }

    fn dest_changed(&self, dests: &[DestRef]) {
        self.0.lock().change(dests);
    }
}
