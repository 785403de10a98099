// SPDX-License-Identifier: GPL-2.0
//! Threads that estimate rates.
//!
//! There are no lists of estimators: a thread walks the part of the service table whose turn it is,
//! and looks at services and their servers there. So nothing is allocated or moved when these come
//! and go, and starting to estimate cannot fail.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_est.c

use crate::{
    ip_vs_ns::{work, NsArc, NsRef, NsState},
    ip_vs_svc::{Roster, Service},
};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use ipvs_logic::est::{hashes, threads, MAX_LAG, PERIOD_SECS, THREADS_PER_CPU, TICKS};
use kernel::{new_mutex, prelude::*, str::CString, sync::Mutex};
use knet::{
    cpulist::{self, CpuList},
    kthread::{Body, Here, Scheduling, Thread},
    net::Net,
    rcu::{self, Arc, Ref},
    sysctl::{Entry, Table},
    timed::{jiffies, time_before, HZ},
};

/// Length of a tick in jiffies.
const TICK: u64 = (PERIOD_SECS * HZ / TICKS) as u64;
/// Nanoseconds between samples.
const PERIOD_NS: u64 = PERIOD_SECS as u64 * 1_000_000_000;
/// When to try again what failed, in jiffies.
const RETRY: u64 = HZ as u64 / 10;
/// Servers that are looked at before others may run.
const BATCH: usize = 64;
/// The nicenesses there are.
const NICE: core::ops::RangeInclusive<i32> = -20..=19;

/// Namespaces that were made, for the names of threads.
static GENERATIONS: AtomicI32 = AtomicI32::new(0);

/// The estimation of a namespace.
#[pin_data]
pub struct Estimation {
    /// Number of the namespace.
    generation: i32,
    /// When tick 0 was, in jiffies.
    epoch: u64,
    run: AtomicI32,
    nice: AtomicI32,
    /// There is or was a service.
    enabled: AtomicBool,
    /// Threads that share the work.
    parts: AtomicU32,
    /// Threads that would be right for it.
    wanted: AtomicU32,
    max_threads: AtomicU32,
    #[pin]
    state: Mutex<State>,
}

/// What only changes of the configuration need.
struct State {
    /// CPUs to run on; none were set if `None`.
    cpus: Option<CpuList>,
    /// Threads run with settings that are not those of now.
    stale: bool,
    threads: KVec<Thread<Part>>,
}

impl Estimation {
    /// Nothing is estimated yet.
    pub fn new() -> impl PinInit<Self> {
        let state = State {
            cpus: None,
            stale: false,
            threads: KVec::new(),
        };
        pin_init!(Self {
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
            epoch: jiffies(),
            run: AtomicI32::new(1),
            nice: AtomicI32::new(0),
            enabled: AtomicBool::new(false),
            parts: AtomicU32::new(0),
            wanted: AtomicU32::new(1),
            max_threads: AtomicU32::new(0),
            state <- new_mutex!(state, "ipvs->est"),
        })
    }

    /// Threads that there are when estimation is not switched off, and the most there can be: 0
    /// before the first service.
    pub fn slots(&self) -> (u32, u32) {
        (
            self.wanted.load(Ordering::Relaxed),
            self.max_threads.load(Ordering::Relaxed),
        )
    }

    /// The tick that is now.
    fn tick(&self) -> u64 {
        jiffies().wrapping_sub(self.epoch) / TICK
    }

    fn limit_threads(&self, cpus: Option<&CpuList>) {
        let max = THREADS_PER_CPU.saturating_mul(cpulist::weight(cpus)).max(1);
        self.max_threads.store(max, Ordering::Relaxed);
    }

    /// Threads are started again with the settings of now.
    fn reload(&self, state: &mut State, ns: NsRef<'_>) {
        if self.enabled.load(Ordering::Relaxed) {
            state.stale = true;
            NsState::requeue(ns, work::EST_RELOAD, 0);
        }
    }
}

/// There is a service: estimation begins, and goes on until the namespace ends.
pub fn enable(ns: &NsArc) {
    let est = &ns.est;
    if est.enabled.load(Ordering::Relaxed) {
        return;
    }
    let mut state = est.state.lock();
    est.enabled.store(true, Ordering::Relaxed);
    est.limit_threads(state.cpus.as_ref());
    est.reload(&mut state, ns.as_ref());
}

/// The namespace goes. The work is stopped already.
pub fn stop(ns: &NsArc) {
    let est = &ns.est;
    let mut state = est.state.lock();
    est.enabled.store(false, Ordering::Relaxed);
    est.parts.store(0, Ordering::Relaxed);
    while let Some(thread) = state.threads.pop() {
        pr_info!("stop unused estimator thread {}...\n", thread.part);
    }
}

/// Starts and stops threads, as it was wanted.
pub fn reload_work(ns: &NsArc) {
    let est = &ns.est;
    let mut state = est.state.lock();
    if !est.enabled.load(Ordering::Relaxed) {
        return;
    }
    let may_run = est.run.load(Ordering::Relaxed) != 0
        && (state.cpus.is_none() || cpulist::weight(state.cpus.as_ref()) != 0);
    let want = if may_run {
        let max = est.max_threads.load(Ordering::Relaxed);
        est.wanted.load(Ordering::Relaxed).clamp(1, max.max(1))
    } else {
        0
    };
    let keep = if state.stale { 0 } else { want };
    state.stale = false;
    est.parts.fetch_min(keep, Ordering::Relaxed);
    while state.threads.len() > keep as usize {
        if let Some(thread) = state.threads.pop() {
            pr_info!("stopping estimator thread {}...\n", thread.part);
        }
    }
    while state.threads.len() < want as usize {
        if start_thread(ns, &mut state).is_err() {
            NsState::queue(ns.as_ref(), work::EST_RELOAD, RETRY);
            break;
        }
    }
    est.parts
        .store(state.threads.len() as u32, Ordering::Relaxed);
}

fn start_thread(ns: &NsArc, state: &mut State) -> Result {
    let part = state.threads.len() as u32;
    let name = CString::try_from_fmt(fmt!("ipvs-e:{}:{}", ns.est.generation, part))?;
    state.threads.reserve(1, GFP_KERNEL)?;
    let scheduling = Scheduling {
        nice: ns.est.nice.load(Ordering::Relaxed),
        cpus: state.cpus.as_ref(),
    };
    let body = Part {
        ns: ns.clone(),
        part,
    };
    let thread = Thread::start(&name, scheduling, body)?;
    pr_info!("starting estimator thread {}...\n", part);
    state.threads.push(thread, GFP_KERNEL)?;
    Ok(())
}

/// What one thread does. It keeps the namespace, which stops it before it goes.
struct Part {
    ns: NsArc,
    part: u32,
}

impl Body for Part {
    fn run(&self, here: &Here) {
        let est = &self.ns.est;
        let mut tick = est.tick();
        let mut used = here.runtime();
        while self.wait(tick, here) {
            let now = est.tick();
            if now.wrapping_sub(tick) > MAX_LAG.into() {
                // Those that were missed had too short a time to their next turn.
                tick = now;
            }
            self.look(tick as u32, here);
            tick = tick.wrapping_add(1);
            if self.part == 0 && tick % u64::from(TICKS) == 0 {
                let total = here.runtime();
                self.balance(total.wrapping_sub(used));
                used = total;
            }
        }
    }
}

impl Part {
    /// Waits for a tick; false if the thread is to stop.
    fn wait(&self, tick: u64, here: &Here) -> bool {
        let due = self.ns.est.epoch.wrapping_add(tick.wrapping_mul(TICK));
        loop {
            if here.should_stop() {
                return false;
            }
            let now = jiffies();
            if !time_before(now, due) {
                return true;
            }
            here.sleep(due.wrapping_sub(now));
        }
    }

    /// Samples whose turn it is.
    fn look(&self, tick: u32, here: &Here) {
        let ns = &self.ns;
        if self.part == 0 && tick % TICKS == 0 {
            ns.stats.sample(tick);
        }
        let parts = ns.est.parts.load(Ordering::Relaxed);
        // Too much to do without letting others run.
        let mut long = KVec::new();
        let hashes = hashes(tick, self.part, parts);
        let go_on = || !here.should_stop();
        ns.services.for_each_within(hashes, go_on, |svc, rcu| {
            svc.stats.sample(tick);
            match svc.roster.load(rcu) {
                Some(roster) if !roster.value().dests.is_empty() => {
                    sample_dests(svc, roster.value(), tick, &mut long);
                }
                _ => {}
            }
        });
        long.iter().for_each(|svc| sample_long(svc, tick, here));
    }

    /// Asks for more or fewer threads, if this one used the CPU for so many nanoseconds.
    fn balance(&self, used: u64) {
        let est = &self.ns.est;
        let now = est.parts.load(Ordering::Relaxed);
        let want = threads(
            now,
            used,
            PERIOD_NS,
            est.max_threads.load(Ordering::Relaxed),
        );
        if want != now && now != 0 {
            est.wanted.store(want, Ordering::Relaxed);
            NsState::queue(self.ns.as_ref(), work::EST_RELOAD, 0);
        }
    }
}

/// Samples a service's servers, or adds it to `long`. Not inline: services without are cheaper.
#[inline(never)]
fn sample_dests(svc: Ref<'_, Service>, roster: &Roster, tick: u32, long: &mut KVec<Arc<Service>>) {
    let later =
        roster.dests.len() > BATCH && svc.get().is_some_and(|s| long.push(s, GFP_ATOMIC).is_ok());
    if !later {
        roster.dests.iter().for_each(|d| d.stats.sample(tick));
    }
}

/// Samples the servers of a service, and now and then lets others run. Those that come or go meanwhile
/// shift the rest: nothing is sampled twice in a tick, and what was missed has its turn in the next
/// period.
fn sample_long(svc: &Service, tick: u32, here: &Here) {
    let mut guard = rcu::read_lock();
    let mut at = 0usize;
    while !here.should_stop() {
        let roster = svc.roster.load(guard.rcu());
        let left = roster.and_then(|r| r.value().dests.get(at..));
        let Some(left) = left.filter(|left| !left.is_empty()) else {
            return;
        };
        left.iter().take(BATCH).for_each(|d| d.stats.sample(tick));
        at = at.saturating_add(BATCH);
        guard.resched();
    }
}

// ---- settings ----

fn set_run(ns: NsRef<'_>, _old: i32, new: i32) -> Result {
    let est = &ns.value().est;
    let mut state = est.state.lock();
    if est.run.swap(new, Ordering::Relaxed) != new {
        est.reload(&mut state, ns);
    }
    Ok(())
}

fn set_nice(ns: NsRef<'_>, _old: i32, new: i32) -> Result {
    if !NICE.contains(&new) {
        return Err(EINVAL);
    }
    let est = &ns.value().est;
    let mut state = est.state.lock();
    if est.nice.swap(new, Ordering::Relaxed) != new {
        est.reload(&mut state, ns);
    }
    Ok(())
}

fn set_cpulist(ns: NsRef<'_>, text: &[u8]) -> Result {
    let cpus = CpuList::parse(text)?;
    let est = &ns.value().est;
    let mut state = est.state.lock();
    est.limit_threads(Some(&cpus));
    state.cpus = Some(cpus);
    est.reload(&mut state, ns);
    Ok(())
}

static ENTRIES: [Entry<NsState>; 3] = [
    Entry::call(
        c"run_estimation",
        |ns| ns.est.run.load(Ordering::Relaxed),
        set_run,
    )
    .privileged(),
    Entry::text(
        c"est_cpulist",
        |ns, room| cpulist::print(ns.est.state.lock().cpus.as_ref(), room),
        set_cpulist,
    )
    .privileged(),
    Entry::call(
        c"est_nice",
        |ns| ns.est.nice.load(Ordering::Relaxed),
        set_nice,
    )
    .privileged(),
];

/// Makes the settings of a namespace.
pub fn register<'n>(net: &'n Net, ns: &NsArc) -> Result<Table<'n, NsState>> {
    Table::new(net, c"net/ipv4/vs", ns.clone(), &ENTRIES)
}
