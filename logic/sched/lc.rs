// SPDX-License-Identifier: GPL-2.0
//! Least connection.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_lc.c.

use super::{first, place, DestView};

/// Chooses the destination with the least load, the first of equals. Weights only matter when they
/// are 0.
#[inline]
pub fn pick<D: DestView>(dests: &[D]) -> Option<usize> {
    let may = |d: &D| !d.overloaded() && d.weight() != 0;
    let (mut least, rest) = first(dests, may)?;
    let mut least_load = least.conns().load() as u32;
    for d in rest {
        let load = d.conns().load() as u32;
        if load < least_load && may(d) {
            (least, least_load) = (d, load);
        }
    }
    place(dests, least)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{dest, Dest};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn none_is_less(dests in prop::collection::vec(dest(), 0..12)) {
            let may = |d: &Dest| !d.overloaded && d.weight != 0;
            let load = |d: &Dest| (d.active << 8).wrapping_add(d.total) as u32;
            let least = dests.iter().filter(|d| may(d)).map(load).min();
            let first = dests.iter().position(|d| may(d) && Some(load(d)) == least);
            prop_assert_eq!(pick(&dests), first);
        }
    }
}
