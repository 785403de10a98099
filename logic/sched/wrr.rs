// SPDX-License-Identifier: GPL-2.0
//! Weighted round robin.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_wrr.c.

use super::{gcd_max, DestView};

/// Where the rounds stand: a destination gets a connection when its weight is at least the current
/// one, which sinks by the common divisor each time the list is through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// The destination chosen last; `None` is the head of the list.
    cursor: Option<usize>,
    current: i32,
    max: i32,
    step: i32,
}

impl State {
    /// For a service that has these destinations.
    pub fn new<D: DestView>(dests: &[D]) -> State {
        let (max, step) = Self::bounds(dests);
        State {
            cursor: None,
            current: max,
            max,
            step,
        }
    }

    fn bounds<D: DestView>(dests: &[D]) -> (i32, i32) {
        let (gcd, max) = gcd_max(dests.iter().map(D::weight));
        let step = gcd.max(1);
        // The lowest weight that is as good as the highest.
        (max.wrapping_sub(step.wrapping_sub(1)), step)
    }

    /// Destinations or weights are others now.
    pub fn change<D: DestView>(&mut self, dests: &[D]) {
        self.cursor = None;
        (self.max, self.step) = Self::bounds(dests);
        if self.current > self.max || self.current == 0 {
            self.current = self.max;
        } else if self.step > 1 {
            let whole = self.current.checked_div(self.step).unwrap_or(0);
            self.current = whole.wrapping_mul(self.step).wrapping_add(1);
        }
    }

    /// Whether any destination had a weight at the last change.
    pub const fn has_weight(&self) -> bool {
        self.max != 0
    }

    /// Chooses the next destination. `None`: all of a whole cycle are overloaded or of weight 0.
    pub fn pick<D: DestView>(&mut self, dests: &[D]) -> Option<usize> {
        if self.max == 0 {
            return None;
        }
        let last = self.cursor;
        let mut ahead = last.map_or(0, |i| i.saturating_add(1));
        let (mut last_pass, mut again, mut stop) = (false, false, None);
        loop {
            for (i, d) in dests.iter().enumerate().skip(ahead) {
                if d.weight() >= self.current && !d.overloaded() {
                    self.cursor = Some(i);
                    return self.cursor;
                }
                if Some(i) == stop {
                    self.cursor = stop;
                    return None;
                }
            }
            ahead = 0;
            self.current = self.current.wrapping_sub(self.step);
            if self.current <= 0 {
                self.current = self.max;
                if last_pass || last.is_none() {
                    self.cursor = None;
                    return None;
                }
                again = true;
            }
            last_pass = self.current <= self.step;
            // The cycle ends where it began.
            if last_pass && again {
                stop = last;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        eligible,
        testing::{dest, Dest},
    };
    use super::*;
    use proptest::prelude::*;

    fn dests(weights: &[i32]) -> Vec<Dest> {
        weights
            .iter()
            .map(|w| Dest {
                weight: *w,
                ..Dest::default()
            })
            .collect()
    }

    #[test]
    fn interleaves() {
        let d = dests(&[4, 3, 2]);
        let mut s = State::new(&d);
        let got: Vec<_> = (0..9).map(|_| s.pick(&d).unwrap()).collect();
        assert_eq!(got, [0, 0, 1, 0, 1, 2, 0, 1, 2]);
        assert!(s.has_weight());
        let d = dests(&[0, 0]);
        assert_eq!(State::new(&d).pick(&d), None);
        assert!(!State::new(&d).has_weight());
        assert_eq!(State::new::<Dest>(&[]).pick::<Dest>(&[]), None);
    }

    proptest! {
        #[test]
        fn exact_shares(weights in prop::collection::vec(0..20i32, 1..12)) {
            let d = dests(&weights);
            let (gcd, _) = gcd_max(weights.iter().copied());
            prop_assume!(gcd > 0);
            let cycle: i32 = weights.iter().sum::<i32>() / gcd;
            let mut s = State::new(&d);
            for _ in 0..3 {
                let mut got = vec![0; d.len()];
                for _ in 0..cycle {
                    got[s.pick(&d).unwrap()] += gcd;
                }
                prop_assert_eq!(&got, &weights);
            }
        }

        #[test]
        fn finds_what_there_is(
            lists in prop::collection::vec(prop::collection::vec(dest(), 0..6), 1..6),
            picks in 1..20usize,
        ) {
            let sane = |d: &mut Dest| d.weight = d.weight.rem_euclid(9);
            let mut lists = lists;
            lists.iter_mut().flatten().for_each(sane);
            let mut s = State::new(&lists[0]);
            for list in &lists {
                s.change(list);
                for _ in 0..picks {
                    let chosen = s.pick(list);
                    prop_assert!(chosen.is_none_or(|i| eligible(&list[i])));
                    prop_assert_eq!(chosen.is_some(), list.iter().any(eligible));
                }
            }
        }
    }
}
