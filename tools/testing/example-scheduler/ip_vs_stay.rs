// SPDX-License-Identifier: GPL-2.0
//! An example of a scheduler outside the tree: a server gets several connections, then the next one has its turn.
//!
//! Documentation/writing-a-scheduler.md walks through it.
#![forbid(unsafe_code)]

use ip_vs_rs::{
    ip_vs_sched::{DestRef, Request, Scheduler, Setting},
    knet::{lock::SpinLockBh, rcu::Rcu},
    logic::sched::eligible,
    module_scheduler,
};
use kernel::prelude::*;

module_scheduler! {
    type: Stay,
    name: "ip_vs_stay",
    description: "example of an ipvs scheduler",
    license: "GPL",
}

/// Connections that a server gets in a row.
const TURN: u32 = 3;

/// Whose turn it is, and how many connections it still gets.
struct Turn {
    dest: Option<DestRef>,
    left: u32,
}

/// State of one service. Several CPUs choose at once, so it is under a lock.
struct Stay(Pin<KBox<SpinLockBh<Turn>>>);

impl Scheduler for Stay {
    const NAME: &'static CStr = c"stay";

    fn new(_setting: &Setting<'_>) -> Result<Self> {
        let turn = SpinLockBh::new(Turn {
            dest: None,
            left: 0,
        });
        Ok(Self(KBox::pin_init(turn, GFP_KERNEL)?))
    }

    fn schedule<'a>(
        &self,
        dests: &'a [DestRef],
        _request: &Request<'_>,
        _rcu: Rcu<'a>,
    ) -> Option<&'a DestRef> {
        let mut turn = self.0.lock();
        let last = turn
            .dest
            .as_ref()
            .and_then(|last| dests.iter().position(|d| d.same(last)));
        if turn.left > 0 {
            if let Some(dest) = last.and_then(|i| dests.get(i)).filter(|d| eligible(*d)) {
                turn.left = turn.left.saturating_sub(1);
                return Some(dest);
            }
        }
        // The next one that may get connections, from the start of the list after its end.
        let ahead = last.map_or(0, |i| i.saturating_add(1));
        let mut next = Iterator::chain(dests.iter().skip(ahead), dests.iter().take(ahead));
        let dest = next.find(|d| eligible(*d))?;
        turn.dest = Some(dest.clone());
        turn.left = TURN.saturating_sub(1);
        Some(dest)
    }
}
