// SPDX-License-Identifier: GPL-2.0
//! Destination hashing: each address of the service has its server.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_dh.c
#![forbid(unsafe_code)]

use ip_vs_rs::{
    ip_vs_sched::{DestRef, Hashed, Hashing, Request, Table},
    logic::{addr::Af, sched::dh},
    module_scheduler,
};
use kernel::prelude::*;

module_scheduler! {
    type: Hashed<Dh>,
    name: "ip_vs_dh",
    description: "ipvs destination hashing scheduler",
    license: "GPL",
}

struct Dh;

impl Hashing for Dh {
    const NAME: &'static CStr = c"dh";

    fn places(_af: Af, dests: &[DestRef]) -> Result<KVec<u16>> {
        let size = if dests.is_empty() { 0 } else { dh::SIZE };
        let mut places = KVec::from_elem(0, size, GFP_KERNEL)?;
        dh::fill(&mut places, dests.len());
        Ok(places)
    }

    fn pick(table: &Table, request: &Request<'_>) -> Option<usize> {
        let bucket = dh::bucket(table.af, request.destination());
        dh::pick(&table.places, &table.dests, bucket)
    }
}
