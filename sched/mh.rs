// SPDX-License-Identifier: GPL-2.0
//! Maglev hashing: each client has its server, and few get another when servers come or go.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_mh.c
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;
use ip_vs_rs::{
    ip_vs_sched::{DestRef, Hashed, Hashing, Request, Table},
    logic::{
        addr::{Af, Port},
        flags::SvcFlags,
        sched::mh::{self, Setup},
    },
    module_scheduler,
};
use kernel::prelude::*;

module_scheduler! {
    type: Hashed<Mh>,
    name: "ip_vs_mh",
    description: "Maglev hashing ipvs scheduler",
    license: "GPL v2",
}

struct Mh;

impl Hashing for Mh {
    const NAME: &'static CStr = c"mh";

    fn places(af: Af, dests: &[DestRef]) -> Result<KVec<u16>> {
        if dests.len() > mh::SIZE {
            return Err(EINVAL);
        }
        let mut setup = KVec::with_capacity(dests.len(), GFP_KERNEL)?;
        for d in dests {
            let last_weight = d.last_weight.load(Ordering::Relaxed);
            setup.push(Setup::new(af, &d.addr, d.port, last_weight), GFP_KERNEL)?;
        }
        let mut places = KVec::from_elem(0, mh::SIZE, GFP_KERNEL)?;
        let mut taken = KVec::from_elem(false, mh::SIZE, GFP_KERNEL)?;
        if !mh::fill(&mut places, &mut taken, &mut setup) {
            places.clear();
        }
        Ok(places)
    }

    fn pick(table: &Table, request: &Request<'_>) -> Option<usize> {
        let port = if request.flags.contains(SvcFlags::SCHED_MH_PORT) {
            request.client_port()
        } else {
            Port::ZERO
        };
        let client = (table.af, request.client(), port);
        let fallback = request.flags.contains(SvcFlags::SCHED_MH_FALLBACK);
        mh::pick(&table.places, &table.dests, client, fallback)
    }
}
