// SPDX-License-Identifier: GPL-2.0
//! Schedulers that hash: packets look up their server in a table, which is replaced as a whole on change.
//!
//! C counterparts: the tables of net/netfilter/ipvs/ip_vs_dh.c, ip_vs_sh.c and ip_vs_mh.c

use super::{DestRef, Request, Scheduler, Setting};
use core::marker::PhantomData;
use ipvs_logic::addr::Af;
use kernel::prelude::*;
use knet::{
    rcu::{Arc, Object, Rcu, Slot},
    Gfp,
};

/// How to hash.
pub trait Hashing: Sized + Send + Sync + 'static {
    /// Name, as `ipvsadm -s` takes it.
    const NAME: &'static CStr;

    /// By bucket: the number of the server it has, in `dests`. Empty: no bucket has one. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Scheduler::new`]. When servers change later, the table stays what it was.
    fn places(af: Af, dests: &[DestRef]) -> Result<KVec<u16>>;

    /// The number of the server for a new connection, in the table's list. Softirq.
    fn pick(table: &Table, request: &Request<'_>) -> Option<usize>;
}

/// Servers, and which of them each bucket has.
pub struct Table {
    /// The family of the service.
    pub af: Af,
    /// The servers there were when it was made.
    pub dests: KVec<DestRef>,
    /// What [`Hashing::places`] gave for them.
    pub places: KVec<u16>,
}

impl Object for Table {}

/// The scheduler that hashes as `H` tells.
pub struct Hashed<H> {
    af: Af,
    table: Slot<Table>,
    how: PhantomData<H>,
}

impl<H: Hashing> Hashed<H> {
    fn publish(&self, dests: &[DestRef]) -> Result {
        let places = H::places(self.af, dests)?;
        let mut copy = KVec::with_capacity(dests.len(), GFP_KERNEL)?;
        for dest in dests {
            copy.push(dest.clone(), GFP_KERNEL)?;
        }
        let table = Table {
            af: self.af,
            dests: copy,
            places,
        };
        self.table.swap(Some(Arc::new(table, Gfp::Kernel)?));
        Ok(())
    }
}

impl<H: Hashing> Scheduler for Hashed<H> {
    const NAME: &'static CStr = H::NAME;

    fn new(setting: &Setting<'_>) -> Result<Self> {
        let this = Self {
            af: setting.service.af,
            table: Slot::empty(),
            how: PhantomData,
        };
        this.publish(setting.dests)?;
        Ok(this)
    }

    fn schedule<'a>(
        &self,
        _dests: &'a [DestRef],
        request: &Request<'_>,
        rcu: Rcu<'a>,
    ) -> Option<&'a DestRef> {
        let table = self.table.load(rcu)?.value();
        table.dests.get(H::pick(table, request)?)
    }

    fn dest_added(&self, dests: &[DestRef]) {
        self.dest_changed(dests);
    }

    fn dest_removed(&self, dests: &[DestRef], _index: usize) {
        self.dest_changed(dests);
    }

    fn dest_changed(&self, dests: &[DestRef]) {
        let _ = self.publish(dests);
    }
}
