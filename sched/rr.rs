// SPDX-License-Identifier: GPL-2.0
//! Round robin: one server after the other.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_rr.c
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};
use ip_vs_rs::{
    ip_vs_sched::{DestRef, Request, Scheduler, Setting},
    knet::rcu::Rcu,
    logic::sched::rr::{self, Cursor},
    module_scheduler,
};
use kernel::prelude::*;

module_scheduler! {
    type: Rr,
    name: "ip_vs_rr",
    description: "ipvs round-robin scheduler",
    license: "GPL",
}

/// The server chosen last, as a [`Cursor`].
struct Rr(AtomicU32);

impl Rr {
    fn change(&self, f: impl Fn(Option<usize>) -> Option<usize>) {
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(Cursor::new(f(Cursor::from_bits(last).index())).bits())
            });
    }
}

impl Scheduler for Rr {
    const NAME: &'static CStr = c"rr";

    fn new(_setting: &Setting<'_>) -> Result<Self> {
        Ok(Self(AtomicU32::new(Cursor::HEAD.bits())))
    }

    fn schedule<'a>(
        &self,
        dests: &'a [DestRef],
        _request: &Request<'_>,
        _rcu: Rcu<'a>,
    ) -> Option<&'a DestRef> {
        let mut last = self.0.load(Ordering::Relaxed);
        loop {
            let index = rr::pick(Cursor::from_bits(last).index(), dests)?;
            let next = Cursor::new(Some(index)).bits();
            match self
                .0
                .compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return dests.get(index),
                Err(now) => last = now,
            }
        }
    }

    fn dest_added(&self, _dests: &[DestRef]) {
        self.change(rr::on_add);
    }

    fn dest_removed(&self, _dests: &[DestRef], index: usize) {
        self.change(|last| rr::on_del(last, index));
    }
}
