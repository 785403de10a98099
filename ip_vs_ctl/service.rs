// SPDX-License-Identifier: GPL-2.0
//! Services come, change and go.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_ctl.c

use super::{dest::unlink_dest, errno, find_exact, Control};
use crate::{
    ip_vs_conn,
    ip_vs_core::{HOOKS4, HOOKS6},
    ip_vs_est,
    ip_vs_ns::{work, Ns, NsArc, NsState},
    ip_vs_sched::{hold_ip_vs, Bound, DestRef, Setting},
    ip_vs_svc::{Roster, Service},
};
use core::sync::atomic::{AtomicI32, Ordering};
use ipvs_logic::{
    addr::{Af, Proto},
    ctl::{merge_flags, ServiceConf, ServiceKey},
    flags::SvcFlags,
    table::Limits,
};
use kernel::{prelude::*, sync};
use knet::{
    front_vec::FrontVec,
    module::{self, ModuleRef},
    rcu::{self, Arc},
    table::Shape,
    timed::HZ,
    Gfp,
};

/// What is not there yet says so.
fn check_supported(key: &ServiceKey) -> Result {
    if !key.is_fwmark() && key.proto == Proto::SCTP.into() {
        pr_err!("SCTP services are not supported yet\n");
        return Err(EOPNOTSUPP);
    }
    Ok(())
}

/// Persistence engines have modules of their own.
fn check_pe(conf: &ServiceConf) -> Result {
    if conf.pe.is_empty() {
        return Ok(());
    }
    let _ = module::request("ip_vs_pe_", conf.pe.as_bytes());
    let name = conf.pe.as_str().unwrap_or("?");
    pr_info!("persistence engine module ip_vs_pe_{} not found\n", name);
    Err(ENOENT)
}

fn count_service(ns: &Ns, key: &ServiceKey, by: i32) {
    let c = &ns.counts;
    let add = |n: &AtomicI32| {
        n.fetch_add(by, Ordering::Relaxed);
    };
    add(c.all.of(key.af));
    if key.is_fwmark() {
        add(c.fwmark.of(key.af));
    } else {
        add(c.addr.of(key.af));
    }
    if key.is_ftp() {
        add(c.ftp.of(key.af));
    } else if key.is_catch_all() {
        add(c.any_port.of(key.af));
    }
}

/// Adds a service. Of the flags in `conf` those in `mask` count.
///
/// # Errors
///
/// `EEXIST`; `ENOENT` without its scheduler or persistence engine; `ENOPROTOOPT` when the module is
/// being unloaded; `ENOMEM`.
pub fn add_service(ns: &NsArc, key: &ServiceKey, conf: &ServiceConf, mask: SvcFlags) -> Result {
    let mut control = ns.control.lock();
    if exists(ns, key) {
        return Err(EEXIST);
    }
    let hold = hold_ip_vs().ok_or(ENOPROTOOPT)?;
    let conf = &ServiceConf {
        flags: merge_flags(None, conf.flags, mask),
        ..*conf
    };
    // Scheduler and module: dropped in this order.
    let bound = bind(ns, key, conf, &[])?;
    check_pe(conf)?;
    conf.validate(key.af).map_err(errno)?;
    check_supported(key)?;
    prepare_services(ns)?;
    ip_vs_conn::prepare_table(ns)?;
    let svc = Arc::pin_init(Service::new(*key, &mut control.stats)?, Gfp::Kernel)?;
    let (sched, module) = bound.unzip();
    // From here on the service drops them in the right order.
    *svc.sched_module.lock() = module;
    let roster = Roster {
        dests: FrontVec::new(),
        sched,
    };
    svc.roster.swap(Some(Arc::new(roster, Gfp::Kernel)?));
    configure_service(&svc, conf);
    control.holds.reserve(1, GFP_KERNEL)?;
    match key.af {
        Af::Inet => ns.hooks4.register(ns, &HOOKS4)?,
        Af::Inet6 => {
            ns.hooks6.defrag6()?;
            ns.hooks6.register(ns, &HOOKS6)?;
        }
    }
    control.holds.push(hold, GFP_KERNEL)?;
    let hash = key.hash(&ns.svc_key);
    if !hash_service(ns, svc, hash) {
        // Cannot be: the table has buckets.
        control.holds.pop();
        services_gone(ns);
        return Err(ENOMEM);
    }
    count_service(ns, key, 1);
    ip_vs_est::enable(ns);
    if ns.services.wants_to_grow() {
        NsState::queue(ns.as_ref(), work::SVC_RESIZE, 1);
    }
    Ok(())
}

/// The scheduler that `conf` names.
fn bind(
    ns: &NsArc,
    service: &ServiceKey,
    conf: &ServiceConf,
    dests: &[DestRef],
) -> Result<Option<(sync::Arc<Bound>, ModuleRef)>> {
    let setting = Setting { ns, service, dests };
    Bound::by_name(conf.sched.as_bytes(), &setting)
}

fn hash_service(ns: &NsArc, svc: Arc<Service>, hash: u32) -> bool {
    let guard = rcu::read_lock();
    ns.services
        .insert(guard.rcu(), svc, [Some(hash), None])
        .is_some()
}

fn configure_service(svc: &Service, conf: &ServiceConf) {
    svc.set_flags(conf.effective_flags());
    let timeout = conf.timeout_jiffies(HZ);
    svc.timeout.store(timeout, Ordering::Relaxed);
    svc.netmask.store(conf.netmask, Ordering::Relaxed);
}

fn exists(ns: &NsArc, key: &ServiceKey) -> bool {
    get_service(ns, key).is_some()
}

/// A reference to a service.
pub fn get_service(ns: &NsArc, key: &ServiceKey) -> Option<Arc<Service>> {
    let guard = rcu::read_lock();
    find_exact(ns.as_ref(), guard.rcu(), key)?.get()
}

/// Changes a service. Of the flags in `conf` those in `mask` count.
///
/// # Errors
///
/// `ESRCH`; `ENOENT` without its scheduler or persistence engine; `ENOMEM`. Nothing is changed then.
pub fn edit_service(ns: &NsArc, key: &ServiceKey, conf: &ServiceConf, mask: SvcFlags) -> Result {
    let _control = ns.control.lock();
    let svc = get_service(ns, key).ok_or(ESRCH)?;
    let conf = &ServiceConf {
        flags: merge_flags(Some(svc.flags()), conf.flags, mask),
        ..*conf
    };
    let roster = svc.roster.get().ok_or(ESRCH)?;
    let old = roster.sched.as_ref().map(|s| s.name().to_bytes());
    let same = old.unwrap_or(b"none") == conf.sched.as_bytes();
    let sched = if same {
        None
    } else {
        Some(bind(ns, key, conf, &roster.dests)?.unzip())
    };
    check_pe(conf)?;
    conf.validate(key.af).map_err(errno)?;
    if let Some((sched, module)) = sched {
        let dests = roster.dests.copy(None, Roster::ROOM)?;
        let new = Arc::new(Roster { dests, sched }, Gfp::Kernel)?;
        drop(roster);
        svc.roster.swap(Some(new));
        // The old scheduler's module may go once no roster has the scheduler.
        let old = core::mem::replace(&mut *svc.sched_module.lock(), module);
        drop(old);
    }
    configure_service(&svc, conf);
    Ok(())
}

/// Deletes a service and its real servers.
///
/// # Errors
///
/// `ESRCH`.
pub fn del_service(ns: &NsArc, key: &ServiceKey) -> Result {
    let mut control = ns.control.lock();
    let svc = get_service(ns, key).ok_or(ESRCH)?;
    if ns.services.remove(svc.as_ref()).is_some() {
        unlink_service(ns, &mut control, &svc);
    }
    services_gone(ns);
    Ok(())
}

/// What goes with a service that was taken out of the table.
fn unlink_service(ns: &NsArc, control: &mut Control, svc: &Arc<Service>) {
    count_service(ns, &svc.key, -1);
    control.holds.pop();
    if let Some(roster) = svc.roster.swap(None) {
        for dest in roster.dests.iter() {
            unlink_dest(ns, control, dest.arc());
        }
    }
    let module = svc.sched_module.lock().take();
    drop(module);
}

/// After services went: without any, packets need not be looked at.
fn services_gone(ns: &NsArc) {
    let any = |af| ns.counts.all.of(af).load(Ordering::Relaxed) != 0;
    if !any(Af::Inet) {
        ns.hooks4.unregister();
    }
    if !any(Af::Inet6) {
        ns.hooks6.unregister();
    }
    if ns.num_services() == 0 {
        ns.services.clear_buckets();
    } else {
        NsState::queue(ns.as_ref(), work::SVC_RESIZE, 1);
    }
}

/// Deletes all services.
pub fn flush(ns: &NsArc) {
    let mut control = ns.control.lock();
    flush_locked(ns, &mut control);
}

fn flush_locked(ns: &NsArc, control: &mut Control) {
    // No resize meanwhile, so what was passed stays empty.
    let _resize = ns.svc_resize.lock();
    let mut chain = 0;
    let mut next = || ns.services.pop(rcu::read_lock().rcu(), &mut chain);
    while let Some(svc) = next() {
        unlink_service(ns, control, &svc);
    }
    services_gone(ns);
}

/// The namespace goes: nothing stays configured. Connections are to be ended after this.
pub fn clear(ns: &NsArc) {
    let mut control = ns.control.lock();
    flush_locked(ns, &mut control);
}

/// Sets counters of a service and its servers to 0; of all without a key.
///
/// # Errors
///
/// `ESRCH`.
pub fn zero(ns: &NsArc, key: Option<&ServiceKey>) -> Result {
    let _control = ns.control.lock();
    match key {
        Some(key) => zero_service(&*get_service(ns, key).ok_or(ESRCH)?),
        None => {
            ns.services.for_each(0, |svc, _| zero_service(&svc));
            ns.stats.zero();
        }
    }
    Ok(())
}

fn zero_service(svc: &Service) {
    if let Some(roster) = svc.roster.get() {
        for dest in roster.dests.iter() {
            dest.stats.zero();
        }
    }
    svc.stats.zero();
}

fn services_shape(ns: &NsArc, now: Option<Shape>) -> Shape {
    let lfactor = ns.sysctl.svc_lfactor.load(Ordering::Relaxed);
    ip_vs_conn::shape_of(Limits::SERVICES, now, ns.num_services(), lfactor)
}

fn shape_now(ns: &NsArc) -> Option<Shape> {
    let guard = rcu::read_lock();
    ns.services.shape(guard.rcu())
}

/// Gives the service table its first buckets.
fn prepare_services(ns: &NsArc) -> Result {
    if shape_now(ns).is_none() {
        ns.services.resize(services_shape(ns, None))?;
    }
    Ok(())
}

/// Makes the service table larger or smaller if it is time.
pub fn svc_resize_work(ns: &NsArc) {
    let _control = ns.control.lock();
    let _resize = ns.svc_resize.lock();
    let now = shape_now(ns);
    if now.is_none() {
        return;
    }
    if ns.services.resize(services_shape(ns, now)).is_err() {
        NsState::queue(ns.as_ref(), work::SVC_RESIZE, 1);
    }
}
