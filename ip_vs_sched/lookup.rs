// SPDX-License-Identifier: GPL-2.0
//! Tables of servers that packets look up, for schedulers that hash: replaced as a whole on change.
//!
//! C counterparts: the tables of net/netfilter/ipvs/ip_vs_dh.c, ip_vs_sh.c and ip_vs_mh.c

use super::DestRef;
use kernel::prelude::*;
use knet::{
    rcu::{Arc, Object, Rcu, Slot},
    Gfp,
};

/// Servers, and which of them each bucket has.
struct Buckets {
    dests: KVec<DestRef>,
    places: KVec<u16>,
}

impl Object for Buckets {}

/// A table that packets read while it is replaced.
pub struct Lookup(Slot<Buckets>);

/// A table as a packet sees it.
#[derive(Clone, Copy)]
pub struct View<'g> {
    /// The servers there were when it was made.
    pub dests: &'g [DestRef],
    /// By bucket: the number of one in `dests`. Empty: no bucket has a server.
    pub places: &'g [u16],
}

impl Lookup {
    /// A table without servers.
    pub fn new() -> Self {
        Self(Slot::empty())
    }

    /// From now on `places` tell which of `dests` a bucket has. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; the table stays what it was.
    pub fn publish(&self, dests: &[DestRef], places: KVec<u16>) -> Result {
        let mut copy = KVec::with_capacity(dests.len(), GFP_KERNEL)?;
        for dest in dests {
            copy.push(dest.clone(), GFP_KERNEL)?;
        }
        let buckets = Buckets {
            dests: copy,
            places,
        };
        self.0.swap(Some(Arc::new(buckets, Gfp::Kernel)?));
        Ok(())
    }

    /// The table as it is now.
    #[inline]
    pub fn view<'g>(&self, rcu: Rcu<'g>) -> Option<View<'g>> {
        let buckets = self.0.load(rcu)?.value();
        Some(View {
            dests: &buckets.dests,
            places: &buckets.places,
        })
    }
}

impl Default for Lookup {
    fn default() -> Self {
        Self::new()
    }
}
