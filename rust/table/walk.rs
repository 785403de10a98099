// SPDX-License-Identifier: GPL-2.0
//! Walks over a hash table.
//!
//! Where a walk stands is the least hash it has not passed: a resize, which changes no hash, neither
//! hides an object from it nor sends it back.

use super::{Buckets, Head, Table};
use crate::rcu::{self, Inner, Object, Rcu, Ref, LINKS};
use core::{
    ops::Range,
    sync::atomic::{fence, Ordering},
};

/// One more than the greatest hash.
const END: u64 = 1 << u32::BITS;
/// Objects that [`Table::for_each_within`] looks at before others may run, or a few more.
const BATCH: u32 = 32;
/// Chains that it looks at before others may run.
const BATCH_CHAINS: usize = 4096;
/// Chains that are tested without a loop; an even number.
const GROUP: usize = 8;

impl<T: Object> Table<T> {
    /// Calls `f(object, link)` for all that is linked at `cursor`, and returns the cursor to go on
    /// with; start with 0, `None` is the end.
    ///
    /// What is in the table from start to end of such a walk is seen, whatever is added, removed or
    /// resized meanwhile; it may be seen twice.
    pub fn walk<'g>(
        &self,
        rcu: Rcu<'g>,
        cursor: u64,
        mut f: impl FnMut(Ref<'g, T>, usize),
    ) -> Option<u64> {
        self.walk_into(rcu, cursor, &mut (), |()| (), |(), obj, slot| f(obj, slot))
    }

    /// Like [`Self::walk`], but what moves during a step is given to `to` once: `again(to)` is
    /// called when a step begins anew, to forget what it has given.
    pub fn walk_into<'g, C: ?Sized>(
        &self,
        _rcu: Rcu<'g>,
        cursor: u64,
        to: &mut C,
        mut again: impl FnMut(&mut C),
        mut f: impl FnMut(&mut C, Ref<'g, T>, usize),
    ) -> Option<u64> {
        let at = cursor as u32;
        // All chains of one step are of one stripe.
        let seq = self.seq(at);
        loop {
            let before = seq.load(Ordering::Acquire);
            let next = self.walk_once(at, &mut |obj, slot| f(to, obj, slot))?;
            fence(Ordering::Acquire);
            if before & 1 == 0 && seq.load(Ordering::Relaxed) == before {
                return (next < END).then_some(next);
            }
            self.wait(at);
            again(to);
        }
    }

    /// One step of a walk, without care for moves. RCU is held for `'g`.
    fn walk_once<'g>(&self, at: u32, f: &mut impl FnMut(Ref<'g, T>, usize)) -> Option<u64> {
        let cur = self.cur.load(Ordering::Acquire);
        // SAFETY: By the type's invariant, for as long as RCU is held.
        let cur: &'g Buckets = unsafe { cur.as_ref() }?;
        let next = cur.next.load(Ordering::Acquire);
        // SAFETY: As above.
        let next: Option<&'g Buckets> = unsafe { next.as_ref() };
        let (small, large) = match next {
            Some(n) if n.shift > cur.shift => (n, Some(cur)),
            Some(n) => (cur, Some(n)),
            None => (cur, None),
        };
        let step = 1u64.wrapping_shl(small.shift);
        let start = u64::from(at) & step.wrapping_neg();
        let end = start.wrapping_add(step);
        visit_at(small, at, f);
        if let Some(large) = large {
            for start in (start..end).step_by(1usize.wrapping_shl(large.shift)) {
                visit_at(large, start as u32, f);
            }
        }
        Some(end)
    }

    /// Calls `f` for each object, linked through `slot`, until it is done. Process context.
    pub fn for_each(&self, slot: usize, mut f: impl FnMut(Ref<'_, T>, Rcu<'_>)) {
        let mut guard = rcu::read_lock();
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let rcu = guard.rcu();
            cursor = self.walk(rcu, at, |obj, s| {
                if s == slot {
                    f(obj, rcu);
                }
            });
            guard.resched();
        }
    }

    /// Calls `f` with the number of links in each chain. Process context.
    pub fn chains(&self, mut f: impl FnMut(usize)) {
        let mut guard = rcu::read_lock();
        let mut cursor = Some(0);
        let mut seen = 0u32;
        while let Some(at) = cursor {
            let mut len = 0usize;
            cursor = self.walk(guard.rcu(), at, |_, _| len = len.wrapping_add(1));
            f(len);
            seen = seen.wrapping_add(1);
            if seen % 64 == 0 {
                guard.resched();
            }
        }
    }

    /// Calls `f` for what is linked under a hash of `hashes`, and now and then `go_on` and lets
    /// others run; stops when that is false. Process context.
    ///
    /// What is in the table all the time is seen once, or again if it is moved meanwhile.
    pub fn for_each_within(
        &self,
        hashes: Range<u64>,
        mut go_on: impl FnMut() -> bool,
        mut f: impl FnMut(Ref<'_, T>, Rcu<'_>),
    ) {
        let end = hashes.end.min(END);
        let mut at = hashes.start;
        let mut guard = rcu::read_lock();
        while at < end && go_on() {
            let rcu = guard.rcu();
            let next = self.look_fast(rcu, at..end, |obj| f(obj, rcu));
            at = next.unwrap_or_else(|| self.look(rcu, at..end, &mut |obj| f(obj, rcu)));
            guard.resched();
        }
    }

    /// Calls `f` for what is linked at the first of `hashes`, and returns the hash to go on with.
    #[cold]
    #[inline(never)]
    fn look<'g>(&self, rcu: Rcu<'g>, hashes: Range<u64>, f: &mut dyn FnMut(Ref<'g, T>)) -> u64 {
        let next = self.walk(rcu, hashes.start, |obj, slot| {
            if hashes.contains(&obj.hash(slot).into()) {
                f(obj);
            }
        });
        next.unwrap_or(hashes.end)
    }

    /// Like [`Self::look`], but for more at once. `None` if a resize goes on or went on: then what
    /// was seen may not have been all.
    #[inline]
    fn look_fast<'g>(
        &self,
        _rcu: Rcu<'g>,
        hashes: Range<u64>,
        mut f: impl FnMut(Ref<'g, T>),
    ) -> Option<u64> {
        let cur = self.cur.load(Ordering::Acquire);
        // SAFETY: By the type's invariant, for as long as RCU is held.
        let cur: &'g Buckets = unsafe { cur.as_ref() }?;
        if !cur.next.load(Ordering::Acquire).is_null() {
            return None;
        }
        let first = cur.index(hashes.start as u32);
        let last = cur.index(hashes.end.wrapping_sub(1) as u32);
        let chains = cur.chains().get(first..=last)?;
        let chains = chains.get(..BATCH_CHAINS).unwrap_or(chains);
        let (mut rest, mut seen) = (chains, 0u32);
        while seen < BATCH {
            let Some((chain, after)) = first_used(rest) else {
                rest = &[];
                break;
            };
            rest = after;
            visit(chain, |obj, _, hash| {
                // The first and the last chain have others, too.
                if hashes.contains(&hash.into()) {
                    f(obj);
                }
                seen = seen.wrapping_add(1);
                true
            });
        }
        let passed = chains.len().wrapping_sub(rest.len());
        // What a move took out of our sight it took after it set `next`, and buckets that have a
        // `next` keep it while RCU is held.
        fence(Ordering::Acquire);
        let unmoved = cur.next.load(Ordering::Relaxed).is_null();
        unmoved.then(|| (first.wrapping_add(passed) as u64).wrapping_shl(cur.shift))
    }
}

/// The first of `chains` that is not empty, and those after it. Most are empty.
#[inline]
fn first_used(mut chains: &[Head]) -> Option<(&Head, &[Head])> {
    let link = |chain: &Head| chain.load(Ordering::Relaxed) as usize;
    while let Some((group, after)) = chains.split_first_chunk::<GROUP>() {
        for n in (0..GROUP).step_by(2) {
            if link(&group[n]) | link(&group[n + 1]) != 0 {
                let skip = n + usize::from(link(&group[n]) == 0);
                return chains.get(skip..)?.split_first();
            }
        }
        chains = after;
    }
    let skip = chains.iter().position(|chain| link(chain) != 0)?;
    chains.get(skip..)?.split_first()
}

/// Calls `f(object, link)` for what is in the chain of the hash `at`.
fn visit_at<'g, T: Object>(buckets: &'g Buckets, at: u32, f: &mut impl FnMut(Ref<'g, T>, usize)) {
    let n = buckets.index(at);
    visit(buckets.chain(at), |obj, slot, hash| {
        // Else it was moved while we looked at it: this is another chain.
        let here = buckets.index(hash) == n;
        if here {
            f(obj, slot);
        }
        here
    });
}

/// Calls `f(object, link, hash)` for what is in a chain, until it is false. RCU is held for `'g`.
#[inline]
fn visit<'g, T: Object>(chain: &'g Head, mut f: impl FnMut(Ref<'g, T>, usize, u32) -> bool) {
    let mut link = chain.load(Ordering::Acquire);
    while !link.is_null() {
        let (inner, slot) = Inner::<T>::from_link(link);
        // SAFETY: What is linked is a live object, and RCU keeps it for `'g`.
        let obj: Ref<'g, T> = unsafe { Ref::from_raw(inner) };
        let hash = obj.0.hash[slot & (LINKS - 1)].load(Ordering::Relaxed);
        if !f(obj, slot, hash) {
            return;
        }
        // SAFETY: As above.
        link = unsafe { &*link }.next.load(Ordering::Acquire);
    }
}
