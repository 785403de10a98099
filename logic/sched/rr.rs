// SPDX-License-Identifier: GPL-2.0
//! Round robin.
//!
//! The cursor rests on the destination chosen last, or on the head of the list. C counterpart:
//! net/netfilter/ipvs/ip_vs_rr.c.

use super::{eligible, DestView};

/// A cursor in 32 bits, for storing: an index, or the head of the list.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor(u32);

impl Cursor {
    /// The head of the list, where a service starts.
    pub const HEAD: Cursor = Cursor(u32::MAX);

    /// From an index; the head for `None` and for what does not fit.
    #[inline]
    pub const fn new(index: Option<usize>) -> Cursor {
        match index {
            Some(i) if i < u32::MAX as usize => Cursor(i as u32),
            _ => Cursor::HEAD,
        }
    }

    /// The index, `None` for the head.
    #[inline]
    pub const fn index(self) -> Option<usize> {
        if self.0 == u32::MAX {
            None
        } else {
            Some(self.0 as usize)
        }
    }

    /// As stored by [`Cursor::bits`].
    #[inline]
    pub const fn from_bits(bits: u32) -> Cursor {
        Cursor(bits)
    }

    /// As a plain number, for an atomic.
    #[inline]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl Default for Cursor {
    fn default() -> Self {
        Cursor::HEAD
    }
}

/// Chooses the next destination after the cursor that may get a connection.
///
/// The index returned is the new cursor; on `None` the cursor stays. The search goes to the end of
/// the list and then, unless it began at the head, from its start up to and including the cursor. A
/// cursor beyond the end, whose destination is gone, lets the second half cover the whole list.
#[inline]
pub fn pick<D: DestView>(cursor: Option<usize>, dests: &[D]) -> Option<usize> {
    let ahead = match cursor {
        Some(c) => c.saturating_add(1),
        None => 0,
    };
    for (i, d) in dests.iter().enumerate().skip(ahead) {
        if eligible(d) {
            return Some(i);
        }
    }
    dests.iter().take(ahead).position(eligible)
}

/// The cursor after a destination was added, which is at index 0 from then on.
#[inline]
pub const fn on_add(cursor: Option<usize>) -> Option<usize> {
    match cursor {
        Some(c) => Some(c.saturating_add(1)),
        None => None,
    }
}

/// The cursor after the destination at `removed` was taken out. A cursor on it moves to the one
/// before, or to the head.
#[inline]
pub const fn on_del(cursor: Option<usize>, removed: usize) -> Option<usize> {
    match cursor {
        Some(c) if c >= removed => c.checked_sub(1),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{dest, Dest};
    use super::*;
    use proptest::prelude::*;

    /// The list as the C has it: a ring of nodes through a head, and a pointer into it.
    struct Ring {
        next: Vec<usize>,
        prev: Vec<usize>,
        dests: Vec<Dest>,
        cursor: usize,
    }

    const HEAD: usize = 0;

    impl Ring {
        fn new() -> Ring {
            let dests = vec![Dest::default()];
            Ring {
                next: vec![HEAD],
                prev: vec![HEAD],
                dests,
                cursor: HEAD,
            }
        }

        fn add(&mut self, dest: Dest) {
            let node = self.dests.len();
            let first = self.next[HEAD];
            self.dests.push(dest);
            self.next.push(first);
            self.prev.push(HEAD);
            self.prev[first] = node;
            self.next[HEAD] = node;
        }

        fn nodes(&self) -> Vec<usize> {
            let mut nodes = vec![];
            let mut n = self.next[HEAD];
            while n != HEAD {
                nodes.push(n);
                n = self.next[n];
            }
            nodes
        }

        /// Unlinks; the node's own pointers stay, as readers may be on it.
        fn del(&mut self, node: usize) {
            let (p, n) = (self.prev[node], self.next[node]);
            self.next[p] = n;
            self.prev[n] = p;
            if self.cursor == node {
                self.cursor = self.prev[self.next[node]];
            }
        }

        fn pick(&mut self) -> Option<u32> {
            let last = self.cursor;
            let mut at = last;
            for _pass in 0..2 {
                loop {
                    at = self.next[at];
                    if at == HEAD {
                        break;
                    }
                    let d = &self.dests[at];
                    if !d.overloaded && d.weight > 0 {
                        self.cursor = at;
                        return Some(d.id);
                    }
                    if at == last {
                        return None;
                    }
                }
                if last == HEAD {
                    return None;
                }
            }
            None
        }
    }

    fn dests(weights: &[i32]) -> Vec<Dest> {
        let each = weights.iter().enumerate();
        each.map(|(i, w)| Dest {
            id: i as u32,
            weight: *w,
            ..Dest::default()
        })
        .collect()
    }

    #[test]
    fn goes_round() {
        let d = dests(&[1, 1, 1]);
        let mut cursor = None;
        let mut seen = vec![];
        for _ in 0..7 {
            cursor = pick(cursor, &d);
            seen.extend(cursor);
        }
        assert_eq!(seen, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn passes_over() {
        let d = dests(&[0, 1, 0, 1]);
        assert_eq!(pick(None, &d), Some(1));
        assert_eq!(pick(Some(1), &d), Some(3));
        assert_eq!(pick(Some(3), &d), Some(1));
        let mut d = d;
        d[3].overloaded = true;
        assert_eq!(pick(Some(1), &d), Some(1));
        d[1].weight = 0;
        for cursor in [None, Some(0), Some(3), Some(9)] {
            assert_eq!(pick(cursor, &d), None);
        }
        assert_eq!(pick::<Dest>(None, &[]), None);
        assert_eq!(pick::<Dest>(Some(0), &[]), None);
    }

    #[test]
    fn lost_cursor() {
        let d = dests(&[1, 1]);
        assert_eq!(pick(Some(7), &d), Some(0));
        assert_eq!(pick(Some(usize::MAX), &d), Some(0));
    }

    #[test]
    fn stored() {
        for i in [None, Some(0), Some(1), Some(u32::MAX as usize - 1)] {
            assert_eq!(Cursor::new(i).index(), i);
            assert_eq!(Cursor::from_bits(Cursor::new(i).bits()).index(), i);
        }
        assert_eq!(Cursor::new(Some(u32::MAX as usize)), Cursor::HEAD);
        assert_eq!(Cursor::default().index(), None);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Add(Dest),
        Del(usize),
        Edit(usize, Dest),
        Pick,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            2 => dest().prop_map(Op::Add),
            1 => any::<usize>().prop_map(Op::Del),
            2 => (any::<usize>(), dest()).prop_map(|(i, d)| Op::Edit(i, d)),
            6 => Just(Op::Pick),
        ]
    }

    proptest! {
        #[test]
        fn chooses_as_the_ring_does(ops in prop::collection::vec(op(), 1..80)) {
            let mut ring = Ring::new();
            let mut list: Vec<Dest> = vec![];
            let mut cursor = None;
            for (n, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Add(d) => {
                        let d = Dest { id: n as u32, ..d };
                        ring.add(d.clone());
                        list.insert(0, d);
                        cursor = on_add(cursor);
                    }
                    Op::Del(i) if !list.is_empty() => {
                        let i = i % list.len();
                        ring.del(ring.nodes()[i]);
                        list.remove(i);
                        cursor = on_del(cursor, i);
                    }
                    Op::Edit(i, d) if !list.is_empty() => {
                        let i = i % list.len();
                        let d = Dest { id: list[i].id, ..d };
                        let node = ring.nodes()[i];
                        ring.dests[node] = d.clone();
                        list[i] = d;
                    }
                    Op::Del(_) | Op::Edit(..) => {}
                    Op::Pick => {
                        let chosen = pick(cursor, &list);
                        prop_assert_eq!(chosen.map(|i| list[i].id), ring.pick());
                        cursor = chosen.or(cursor);
                    }
                }
                let at = cursor.map_or(HEAD, |i| ring.nodes()[i]);
                prop_assert_eq!(at, ring.cursor);
                cursor = Cursor::new(cursor).index();
            }
        }
    }
}
