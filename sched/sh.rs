// SPDX-License-Identifier: GPL-2.0
//! Source hashing: each client has its server.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_sh.c
#![forbid(unsafe_code)]

use ip_vs_rs::{
    ip_vs_sched::{DestRef, Hashed, Hashing, Request, Table},
    logic::{
        addr::{Af, Port},
        flags::SvcFlags,
        sched::sh,
    },
    module_scheduler,
};
use kernel::prelude::*;

module_scheduler! {
    type: Hashed<Sh>,
    name: "ip_vs_sh",
    description: "ipvs source hashing scheduler",
    license: "GPL",
}

struct Sh;

impl Hashing for Sh {
    const NAME: &'static CStr = c"sh";

    fn places(_af: Af, dests: &[DestRef]) -> Result<KVec<u16>> {
        let size = if dests.is_empty() { 0 } else { sh::SIZE };
        let mut places = KVec::from_elem(0, size, GFP_KERNEL)?;
        sh::fill(&mut places, dests);
        Ok(places)
    }

    fn pick(table: &Table, request: &Request<'_>) -> Option<usize> {
        let port = if request.flags.contains(SvcFlags::SCHED_SH_PORT) {
            request.client_port()
        } else {
            Port::ZERO
        };
        let bucket = sh::bucket(table.af, request.client(), port);
        let fallback = request.flags.contains(SvcFlags::SCHED_SH_FALLBACK);
        sh::pick(&table.places, &table.dests, bucket, fallback)
    }
}
