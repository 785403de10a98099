// SPDX-License-Identifier: GPL-2.0
//! Socket options: how ipvsadm configures IPVS when it was built without libnl.
//!
//! IPv4 only, as ever. Who has CAP_NET_ADMIN in the user namespace that owns the network namespace
//! may use them, where netlink wants the initial one.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_ctl.c; structures: include/uapi/linux/ip_vs.h

use crate::{
    ip_vs_ctl::{self as ctl, errno},
    ip_vs_ns::{Namespaces, NsArc},
    ip_vs_svc::{Dest, Service},
    ip_vs_sync,
};
use core::sync::atomic::Ordering;
use ipvs_logic::{
    addr::Af,
    ctl::{DestKey, Name, ServiceKey, SCHED_NAME_MAX},
    flags::SvcFlags,
    netlink::{so_get, so_set},
    uapi::{self, DestEntry, ServiceEntry},
};
use kernel::prelude::*;
use knet::{
    net::Net,
    pernet,
    rcu::{self, Rcu, Ref},
    sockopt::{GetArg, Handler, Options, SetArg},
    timed::HZ,
};

/// The options.
pub static OPTIONS: Options = Options::new::<SockOpts>();

struct SockOpts;

impl Handler for SockOpts {
    const SET: (i32, i32) = (so_set::BASE, so_set::MAX);
    const GET: (i32, i32) = (so_get::BASE, so_get::MAX);

    fn set(net: &Net, option: i32, arg: &SetArg<'_>) -> Result {
        if !net.is_admin() {
            return Err(EPERM);
        }
        if arg.len() != uapi::set_len(option) {
            return Err(EINVAL);
        }
        let ns = state(net)?;
        match option {
            so_set::FLUSH => ctl::flush(&ns),
            so_set::TIMEOUT => ctl::set_timeouts(&ns, &uapi::timeouts(&arg.read()?))?,
            so_set::STARTDAEMON => {
                let daemon = uapi::daemon(&arg.read()?).map_err(errno)?;
                ip_vs_sync::start(net, &ns, &daemon.ifn, daemon.state)?;
            }
            so_set::STOPDAEMON => ip_vs_sync::stop(uapi::daemon_state(&arg.read()?))?,
            so_set::ADDDEST | so_set::EDITDEST | so_set::DELDEST => {
                set_dest(net, &ns, option, &arg.read()?)?;
            }
            so_set::ADD | so_set::EDIT | so_set::DEL | so_set::ZERO => {
                set_service(&ns, option, &arg.read()?)?;
            }
            _ => return Err(EINVAL),
        }
        Ok(())
    }

    fn get(net: &Net, option: i32, arg: &mut GetArg<'_>) -> Result {
        if !net.is_admin() {
            return Err(EPERM);
        }
        let len = uapi::get_len(option);
        if usize::try_from(arg.len()).map_or(true, |room| room < len) {
            return Err(EINVAL);
        }
        let mut sent = [0; uapi::ARG_MAX];
        arg.read(sent.get_mut(..len).ok_or(EINVAL)?)?;
        let ns = state(net)?;
        match option {
            so_get::VERSION => {
                let (text, len) = uapi::version(ns.conn_tab_size());
                arg.write(0, text.get(..len).ok_or(EINVAL)?)?;
                arg.set_len(len as i32);
                Ok(())
            }
            so_get::INFO => {
                let services = ns.counts.all.of(Af::Inet).load(Ordering::Relaxed);
                arg.write(0, &uapi::info(ns.conn_tab_size(), services as u32))
            }
            so_get::TIMEOUT => arg.write(0, &uapi::put_timeouts(&ctl::timeouts(&ns))),
            so_get::DAEMON => arg.write(0, &uapi::put_daemons(&Default::default())),
            so_get::SERVICE => {
                let key = uapi::service_key(&sent);
                let svc = ctl::get_service(&ns, &key).ok_or(ESRCH)?;
                let entry = service_entry(&svc, rcu::read_lock().rcu())?;
                // Between the fields the caller finds what it sent.
                entry.emit(&mut sent);
                arg.write(0, &sent)
            }
            so_get::SERVICES => get_services(&ns, start(&sent)?, arg),
            so_get::DESTS => get_dests(&ns, start(&sent)?, arg),
            _ => Err(EINVAL),
        }
    }
}

/// The state of the socket's namespace.
fn state(net: &Net) -> Result<NsArc> {
    pernet::get::<Namespaces>(net).ok_or(ENOPROTOOPT)
}

fn start<const N: usize>(bytes: &[u8]) -> Result<&[u8; N]> {
    bytes.first_chunk().ok_or(EINVAL)
}

// ---- set ----

fn check_protocol(key: &ServiceKey) -> Result {
    key.check_sockopt_proto().map_err(|e| {
        let (proto, port) = (key.proto, key.port.host());
        let [a, b, c, d] = key.addr.v4_be().to_ne_bytes();
        pr_err!("set_ctl: invalid protocol: {proto} {a}.{b}.{c}.{d}:{port}\n");
        errno(e)
    })
}

/// Marked services have a protocol here, and it must be the right one.
fn check_exists(ns: &NsArc, key: &ServiceKey) -> Result {
    match ctl::get_service(ns, key) {
        Some(svc) if svc.key.proto == key.proto => Ok(()),
        _ => Err(ESRCH),
    }
}

fn set_service(ns: &NsArc, option: i32, bytes: &[u8; uapi::SERVICE_USER_LEN]) -> Result {
    let key = uapi::service_key(bytes);
    let all = key.fwmark == 0 && key.addr.is_unspecified() && key.port.is_zero();
    if option == so_set::ZERO && all {
        return ctl::zero(ns, None);
    }
    // The others do not care for the name, which may have no end.
    let conf = match option {
        so_set::ADD | so_set::EDIT => Some(uapi::service_conf(bytes).map_err(errno)?),
        _ => None,
    };
    check_protocol(&key)?;
    let mask = SvcFlags(!0);
    if option != so_set::ADD {
        check_exists(ns, &key)?;
    }
    match (option, &conf) {
        (so_set::ADD, Some(conf)) => ctl::add_service(ns, &key, conf, mask),
        (so_set::EDIT, Some(conf)) => ctl::edit_service(ns, &key, conf, mask),
        (so_set::DEL, _) => ctl::del_service(ns, &key),
        (so_set::ZERO, _) => ctl::zero(ns, Some(&key)),
        _ => Err(EINVAL),
    }
}

fn set_dest(net: &Net, ns: &NsArc, option: i32, bytes: &[u8; uapi::SVCDEST_USER_LEN]) -> Result {
    let (key, dest, conf) = uapi::svcdest(bytes);
    check_protocol(&key)?;
    check_exists(ns, &key)?;
    match option {
        so_set::ADDDEST => ctl::add_dest(net, ns, &key, &dest, &conf),
        so_set::EDITDEST => ctl::edit_dest(ns, &key, &dest, &conf),
        so_set::DELDEST => ctl::del_dest(ns, &key, &dest),
        _ => Err(EINVAL),
    }
}

// ---- get ----

fn service_entry(svc: &Service, rcu: Rcu<'_>) -> Result<ServiceEntry> {
    let roster = svc.roster.load(rcu).map(Ref::value);
    let sched = roster.and_then(|r| r.sched.as_ref());
    let sched = sched.map_or(&b"none"[..], |s| s.name().to_bytes());
    Ok(ServiceEntry {
        key: svc.key,
        sched: Name::new(sched, SCHED_NAME_MAX).map_err(errno)?,
        flags: svc.flags(),
        timeout: svc.timeout.load(Ordering::Relaxed) / HZ,
        netmask: svc.netmask.load(Ordering::Relaxed),
        num_dests: roster.map_or(0, |r| r.dests.len() as u32),
        stats: svc.stats.snapshot(),
    })
}

fn dest_entry(dest: &Dest) -> DestEntry {
    let conns = dest.conns();
    DestEntry {
        key: DestKey {
            af: dest.af,
            addr: dest.addr,
            port: dest.port,
        },
        flags: dest.conn_flags(),
        weight: dest.weight(),
        u_threshold: dest.u_threshold.load(Ordering::Relaxed),
        l_threshold: dest.l_threshold.load(Ordering::Relaxed),
        active: conns.active() as u32,
        inactive: conns.inactive() as u32,
        persistent: dest.persistent.load(Ordering::Relaxed) as u32,
        stats: dest.stats.snapshot(),
    }
}

/// The caller must have room for all it asks for, and for no more.
fn check_len(arg: &GetArg<'_>, want: u64) -> Result {
    if u64::try_from(arg.len()) == Ok(want) {
        return Ok(());
    }
    pr_err!("length: {} != {}\n", arg.len(), want);
    Err(EINVAL)
}

fn get_services(ns: &NsArc, sent: &[u8; uapi::GET_SERVICES_LEN], arg: &mut GetArg<'_>) -> Result {
    let wanted = uapi::services_wanted(sent);
    check_len(arg, uapi::services_len(wanted))?;
    let entries = {
        // No changes and no resize meanwhile.
        let _control = ns.control.lock();
        let count = ns.counts.all.of(Af::Inet).load(Ordering::Relaxed);
        let count = usize::try_from(count).unwrap_or(0).min(wanted as usize);
        let mut entries = KVVec::with_capacity(count, GFP_KERNEL)?;
        ns.services.for_each(0, |svc, rcu| {
            if svc.key.af != Af::Inet || entries.len() >= count {
                return;
            }
            if let Ok(entry) = service_entry(&svc, rcu) {
                let mut bytes = [0; uapi::SERVICE_ENTRY_LEN];
                entry.emit(&mut bytes);
                // There is room: nothing is allocated under RCU.
                let _ = entries.push_within_capacity(bytes);
            }
        });
        entries
    };
    arg.write(uapi::GET_SERVICES_LEN, entries.as_flattened())
}

fn get_dests(ns: &NsArc, sent: &[u8; uapi::GET_DESTS_LEN], arg: &mut GetArg<'_>) -> Result {
    let wanted = uapi::dests_wanted(sent);
    check_len(arg, uapi::dests_len(wanted))?;
    let entries = {
        // No changes meanwhile. Not held while the caller's memory is waited for.
        let _control = ns.control.lock();
        let svc = ctl::get_service(ns, &uapi::service_key(sent)).ok_or(ESRCH)?;
        let roster = svc.roster.get().ok_or(ESRCH)?;
        let count = roster.dests.len().min(wanted as usize);
        let mut entries = KVVec::with_capacity(count, GFP_KERNEL)?;
        // Those of another family have no place in the answer.
        let dests = roster.dests.iter().filter(|d| d.af == svc.key.af);
        for dest in dests.take(count) {
            entries.push(dest_entry(dest).emit(), GFP_KERNEL)?;
        }
        entries
    };
    arg.write(uapi::GET_DESTS_LEN, entries.as_flattened())
}
