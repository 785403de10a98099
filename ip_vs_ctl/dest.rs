// SPDX-License-Identifier: GPL-2.0
//! Real servers come, change and go.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_ctl.c

use super::{errno, get_service, real_server_hash, trash, Control};
use crate::{
    ip_vs_ns::{work, NsArc, NsState},
    ip_vs_sched::DestRef,
    ip_vs_svc::{Dest, Roster, Service, StatsPool},
};
use core::sync::atomic::Ordering;
use ipvs_logic::{
    addr::Af,
    ctl::{validate_dest, DestConf, DestKey, ServiceKey},
};
use kernel::prelude::*;
use knet::{
    net::Net,
    rcu::{self, Arc},
    route::{addr_type4, AddrType, Path},
    route6::addr_type6,
    Gfp,
};

/// A service's roster, which has room for one more from now on.
fn with_room(svc: &Service) -> Result<Arc<Roster>> {
    let roster = svc.roster.get().ok_or(ESRCH)?;
    if roster.dests.has_room() {
        return Ok(roster);
    }
    let more = roster.dests.len().max(Roster::ROOM);
    let new = Roster {
        dests: roster.dests.copy(None, more)?,
        sched: roster.sched.clone(),
    };
    let new = Arc::new(new, Gfp::Kernel)?;
    svc.roster.swap(Some(new.clone()));
    Ok(new)
}

fn check_dest(function: &str, conf: &DestConf) -> Result {
    if let Err(e) = validate_dest(conf) {
        if conf.weight < 0 {
            pr_err!("{}(): server weight less than zero\n", function);
        } else if conf.l_threshold > conf.u_threshold {
            pr_err!(
                "{}(): lower threshold is higher than upper threshold\n",
                function
            );
        } else if conf.u_threshold <= i32::MAX as u32 {
            pr_err!("{}(): tunnel port is zero\n", function);
        }
        return Err(errno(e));
    }
    Ok(())
}

/// Adds a real server to a service.
///
/// # Errors
///
/// `ESRCH`, `EEXIST`, those of [`validate_dest`], `EINVAL` for addresses that no host has, `ENOMEM`.
pub fn add_dest(
    net: &Net,
    ns: &NsArc,
    service: &ServiceKey,
    key: &DestKey,
    conf: &DestConf,
) -> Result {
    let mut control = ns.control.lock();
    let svc = get_service(ns, service).ok_or(ESRCH)?;
    let roster = svc.roster.get().ok_or(ESRCH)?;
    check_dest("ip_vs_add_dest", conf)?;
    if roster.find(key).is_some() {
        return Err(EEXIST);
    }
    let trashed = control.trash.find(ns, &svc.key, key)?;
    let dest = match &trashed {
        Some(dest) => dest.clone(),
        None => new_dest(net, ns, &svc, key, &mut control.stats)?,
    };
    let roster = with_room(&svc)?;
    // Nothing fails from here on: there is room, and nobody else adds.
    if let Some(dest) = &trashed {
        control.trash.remove(dest);
    }
    if !dest.svc.get().is_some_and(|old| old.ptr_eq(&svc)) {
        let old = dest.svc.swap(Some(svc.clone()));
        if old.is_some() {
            dest.stats.zero();
        }
    }
    dest.configure(conf, true);
    link_real_server(ns, &dest);
    dest.set_available(true);
    roster.dests.push(DestRef::new(dest))?;
    if let Some(sched) = &roster.sched {
        sched.dest_added(&roster.dests);
    }
    Ok(())
}

fn new_dest(
    net: &Net,
    ns: &NsArc,
    svc: &Service,
    key: &DestKey,
    stats: &mut StatsPool,
) -> Result<Arc<Dest>> {
    let kind = match key.af {
        Af::Inet => addr_type4(net, key.addr.v4_be()),
        Af::Inet6 => addr_type6(net, key.addr.words()),
    };
    match kind {
        AddrType::Local | AddrType::Unicast => {}
        AddrType::Other => return Err(EINVAL),
    }
    if key.af == Af::Inet6 {
        ns.hooks6.defrag6()?;
    }
    Arc::pin_init(Dest::new(key, svc.key, stats)?, Gfp::Kernel)
}

fn link_real_server(ns: &NsArc, dest: &Arc<Dest>) {
    if let Some(port) = dest.table_port() {
        let hash = real_server_hash(ns, dest.af, &dest.addr, port);
        let guard = rcu::read_lock();
        // `None` if it is in there already.
        let _ = ns
            .real_servers
            .insert(guard.rcu(), dest.clone(), [Some(hash), None]);
    }
}

/// Changes a real server.
///
/// # Errors
///
/// `ESRCH`, `ENOENT`, those of [`validate_dest`].
pub fn edit_dest(ns: &NsArc, service: &ServiceKey, key: &DestKey, conf: &DestConf) -> Result {
    let _control = ns.control.lock();
    let svc = get_service(ns, service).ok_or(ESRCH)?;
    let roster = svc.roster.get().ok_or(ESRCH)?;
    check_dest("ip_vs_edit_dest", conf)?;
    let (_, dest) = roster.find(key).ok_or(ENOENT)?;
    if dest.conf_moves(conf) {
        drop(ns.real_servers.remove(dest.arc().as_ref()));
    }
    dest.configure(conf, false);
    link_real_server(ns, dest.arc());
    dest.reset_route();
    if let Some(sched) = &roster.sched {
        sched.dest_changed(&roster.dests);
    }
    Ok(())
}

/// Takes a real server out of a service.
///
/// # Errors
///
/// `ESRCH`, `ENOENT`, `ENOMEM`.
pub fn del_dest(ns: &NsArc, service: &ServiceKey, key: &DestKey) -> Result {
    let mut control = ns.control.lock();
    let svc = get_service(ns, service).ok_or(ESRCH)?;
    let roster = svc.roster.get().ok_or(ESRCH)?;
    let (index, dest) = roster.find(key).ok_or(ENOENT)?;
    let new = Roster {
        dests: roster.dests.copy(Some(index), Roster::ROOM)?,
        sched: roster.sched.clone(),
    };
    let new = Arc::new(new, Gfp::Kernel)?;
    svc.roster.swap(Some(new.clone()));
    if let Some(sched) = &new.sched {
        sched.dest_removed(&new.dests, index);
    }
    unlink_dest(ns, &mut control, dest.arc());
    Ok(())
}

/// Puts a server that is in no roster any more into the trash.
pub(super) fn unlink_dest(ns: &NsArc, control: &mut Control, dest: &Arc<Dest>) {
    dest.set_available(false);
    dest.reset_route();
    let counted = ns.real_servers.remove(dest.as_ref());
    let counted = counted.unwrap_or_else(|| dest.clone());
    let first = control.trash.is_empty();
    // With others in the trash the work is queued, or queues itself when it gets the mutex.
    if control.trash.put(counted).is_ok() && first {
        NsState::requeue(ns.as_ref(), work::TRASH, trash::PERIOD / 2);
    }
    if ns.sysctl.expire_nodest_conn.load(Ordering::Relaxed) != 0 {
        NsState::queue(ns.as_ref(), work::EXPIRE_NODEST, 1);
    }
}

/// Frees servers that have had no connections for a while.
pub fn trash_work(ns: &NsArc) {
    let mut control = ns.control.lock();
    control.trash.expire();
    if !control.trash.is_empty() {
        NsState::queue(ns.as_ref(), work::TRASH, trash::PERIOD / 2);
    }
}

/// Forgets the ways that lead through a device. Called under RTNL, so not under `control`: who
/// loads a scheduler holds that, and loading may want RTNL.
pub fn forget_device(ns: &NsArc, ifindex: i32) {
    ns.services.for_each(0, |svc, rcu| {
        let Some(roster) = svc.roster.load(rcu) else {
            return;
        };
        for dest in roster.value().dests.iter() {
            let used = |r: &dyn Path| r.uses_dev(ifindex, rcu);
            if dest.route.load(rcu).is_some_and(|r| used(r.value()))
                || dest.route6.load(rcu).is_some_and(|r| used(r.value()))
            {
                dest.reset_route();
            }
        }
    });
}

/// The namespace goes: nor do removed servers, which without connections nobody needs.
pub fn clear_trash(ns: &NsArc) {
    ns.control.lock().trash.clear();
}
