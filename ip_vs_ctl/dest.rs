// SPDX-License-Identifier: GPL-2.0
//! Real servers come, change and go; where those that went wait for their connections.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_ctl.c

use super::{errno, get_service, real_server_hash, Control};
use crate::{
    ip_vs_ns::{work, NsArc, NsState},
    ip_vs_sched::DestRef,
    ip_vs_svc::{Dest, Roster, Service},
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
    timed::{jiffies, time_before, HZ},
    Gfp,
};

/// A removed real server that still has connections, or just had. If it is added to its service
/// again it goes on as if it had not been away.
pub(super) struct Trashed {
    dest: Arc<Dest>,
    /// Since when it has had no connections, in jiffies; 0 if it had some when last looked at.
    idle_since: u64,
}

/// How long removed servers are kept when they have no connections, in jiffies.
const TRASH_PERIOD: u64 = 120 * HZ as u64;

/// A copy of a list: with `first` before all, without the one at `without`.
pub(super) fn copy_dests(
    dests: &[DestRef],
    first: Option<&Arc<Dest>>,
    without: Option<usize>,
) -> Result<KVec<DestRef>> {
    let mut copy = KVec::with_capacity(dests.len().saturating_add(1), GFP_KERNEL)?;
    if let Some(dest) = first {
        copy.push(DestRef::new(dest.clone()), GFP_KERNEL)?;
    }
    for (i, dest) in dests.iter().enumerate() {
        if Some(i) != without {
            copy.push(dest.clone(), GFP_KERNEL)?;
        }
    }
    Ok(copy)
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
    let trashed = control
        .trash
        .iter()
        .position(|t| is_of(&t.dest, &svc.key, key));
    let dest = match trashed {
        Some(i) => control.trash.get(i).ok_or(ENOENT)?.dest.clone(),
        None => new_dest(net, ns, &svc, key)?,
    };
    let dests = copy_dests(&roster.dests, Some(&dest), None)?;
    let new = Roster {
        dests,
        sched: roster.sched.clone(),
    };
    let new = Arc::new(new, Gfp::Kernel)?;
    // Nothing fails from here on.
    if let Some(i) = trashed {
        let _ = control.trash.remove(i);
    }
    if !dest.svc.get().is_some_and(|old| old.ptr_eq(&svc)) {
        dest.stats.zero();
        dest.svc.swap(Some(svc.clone()));
    }
    dest.configure(conf, true);
    link_real_server(ns, &dest);
    dest.set_available(true);
    svc.roster.swap(Some(new.clone()));
    if let Some(sched) = &new.sched {
        sched.dest_added(&new.dests);
    }
    Ok(())
}

fn is_of(dest: &Dest, service: &ServiceKey, key: &DestKey) -> bool {
    dest.af == key.af
        && dest.addr == key.addr
        && dest.port == key.port
        && dest.service.proto == service.proto
        && dest.service.same(service)
}

fn new_dest(net: &Net, ns: &NsArc, svc: &Service, key: &DestKey) -> Result<Arc<Dest>> {
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
    Arc::pin_init(Dest::new(key, svc.key)?, Gfp::Kernel)
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
        dests: copy_dests(&roster.dests, None, Some(index))?,
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
    drop(ns.real_servers.remove(dest.as_ref()));
    let trashed = Trashed {
        dest: dest.clone(),
        idle_since: 0,
    };
    // Without memory it is forgotten as soon as its connections are gone: no harm.
    if control.trash.push(trashed, GFP_KERNEL).is_ok() {
        // With others in the trash it is queued, or queues itself when it gets the mutex.
        if control.trash.len() == 1 {
            NsState::requeue(ns.as_ref(), work::TRASH, TRASH_PERIOD / 2);
        }
    }
    if ns.sysctl.expire_nodest_conn.load(Ordering::Relaxed) != 0 {
        NsState::queue(ns.as_ref(), work::EXPIRE_NODEST, 1);
    }
}

/// Frees servers that have had no connections for a while.
pub fn trash_work(ns: &NsArc) {
    let mut control = ns.control.lock();
    let now = jiffies();
    control.trash.retain(|t| {
        if t.dest.count() > 1 {
            return true;
        }
        if t.idle_since == 0 {
            t.idle_since = now.max(1);
            return true;
        }
        time_before(now, t.idle_since.wrapping_add(TRASH_PERIOD))
    });
    if !control.trash.is_empty() {
        NsState::queue(ns.as_ref(), work::TRASH, TRASH_PERIOD / 2);
    }
}

/// Forgets the ways that lead through a device. Called under RTNL, so not under `control`: who
/// loads a scheduler holds that, and loading may want RTNL.
pub fn forget_device(ns: &NsArc, ifindex: i32) {
    ns.services.for_each(0, |svc, rcu| {
        let Some(roster) = svc.roster.load(rcu) else {
            return;
        };
        for dest in &roster.value().dests {
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
    let trash = core::mem::replace(&mut ns.control.lock().trash, KVec::new());
    for t in &trash {
        t.dest.svc.swap(None);
    }
}
