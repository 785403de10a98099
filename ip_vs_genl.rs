// SPDX-License-Identifier: GPL-2.0
//! Generic netlink: how ipvsadm and keepalived configure IPVS.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_ctl.c; numbers: include/uapi/linux/ip_vs.h

use crate::{
    ip_vs_ctl::{self as ctl, errno},
    ip_vs_ns::{Namespaces, NsArc},
    ip_vs_svc::{self as svc, Dest, Service},
    ip_vs_sync,
};
use core::sync::atomic::Ordering;
use ipvs_logic::{
    addr::{Addr, Af, Port},
    ctl::{validate_family, DestConf, DestKey, Name, ServiceConf, ServiceKey},
    ctl::{IFNAME_MAX, PE_NAME_MAX, SCHED_NAME_MAX},
    flags::{ConnFlags, SvcFlags, VERSION_CODE},
    netlink::{cmd, cmd_attr, daemon_attr, dest_attr, info_attr, stats_attr, svc_attr},
    stats::{Counters, Rates, Stats},
    timeouts::TimeoutUser,
};
use kernel::prelude::*;
use knet::{
    genl::{Do, Dump, Dumper, Family, Op, Request},
    nla::{Attr, Attrs, Msg, Policy, Table},
    pernet,
    rcu::{self, Rcu},
    timed::HZ,
};

/// Bytes of an address in attributes: `union nf_inet_addr`.
const ADDR_LEN: u16 = 16;

static CMD: Table<7> = Table::new()
    .with(cmd_attr::SERVICE as usize, Policy::NESTED)
    .with(cmd_attr::DEST as usize, Policy::NESTED)
    .with(cmd_attr::DAEMON as usize, Policy::NESTED)
    .with(cmd_attr::TIMEOUT_TCP as usize, Policy::U32)
    .with(cmd_attr::TIMEOUT_TCP_FIN as usize, Policy::U32)
    .with(cmd_attr::TIMEOUT_UDP as usize, Policy::U32);

static SERVICE: Table<13> = Table::new()
    .with(svc_attr::AF as usize, Policy::U16)
    .with(svc_attr::PROTOCOL as usize, Policy::U16)
    .with(svc_attr::ADDR as usize, Policy::binary(ADDR_LEN))
    .with(svc_attr::PORT as usize, Policy::U16)
    .with(svc_attr::FWMARK as usize, Policy::U32)
    .with(
        svc_attr::SCHED_NAME as usize,
        Policy::nul_string(SCHED_NAME_MAX as u16),
    )
    .with(
        svc_attr::PE_NAME as usize,
        Policy::nul_string(PE_NAME_MAX as u16),
    )
    .with(svc_attr::FLAGS as usize, Policy::binary(8))
    .with(svc_attr::TIMEOUT as usize, Policy::U32)
    .with(svc_attr::NETMASK as usize, Policy::U32)
    .with(svc_attr::STATS as usize, Policy::NESTED);

static DEST: Table<16> = Table::new()
    .with(dest_attr::ADDR as usize, Policy::binary(ADDR_LEN))
    .with(dest_attr::PORT as usize, Policy::U16)
    .with(dest_attr::FWD_METHOD as usize, Policy::U32)
    .with(dest_attr::WEIGHT as usize, Policy::U32)
    .with(dest_attr::U_THRESH as usize, Policy::U32)
    .with(dest_attr::L_THRESH as usize, Policy::U32)
    .with(dest_attr::ACTIVE_CONNS as usize, Policy::U32)
    .with(dest_attr::INACT_CONNS as usize, Policy::U32)
    .with(dest_attr::PERSIST_CONNS as usize, Policy::U32)
    .with(dest_attr::STATS as usize, Policy::NESTED)
    .with(dest_attr::ADDR_FAMILY as usize, Policy::U16)
    .with(dest_attr::TUN_TYPE as usize, Policy::U8)
    .with(dest_attr::TUN_PORT as usize, Policy::U16)
    .with(dest_attr::TUN_FLAGS as usize, Policy::U16);

static DAEMON: Table<9> = Table::new()
    .with(daemon_attr::STATE as usize, Policy::U32)
    .with(daemon_attr::MCAST_IFN as usize, Policy::nul_string(15))
    .with(daemon_attr::SYNC_ID as usize, Policy::U32)
    .with(daemon_attr::SYNC_MAXLEN as usize, Policy::U16)
    .with(daemon_attr::MCAST_GROUP as usize, Policy::U32)
    .with(daemon_attr::MCAST_GROUP6 as usize, Policy::at_least(16))
    .with(daemon_attr::MCAST_PORT as usize, Policy::U16)
    .with(daemon_attr::MCAST_TTL as usize, Policy::U8);

static OPS: [Op; 16] = [
    Op::run::<Set>(cmd::NEW_SERVICE),
    Op::run::<Set>(cmd::SET_SERVICE),
    Op::run::<Set>(cmd::DEL_SERVICE),
    Op::run_or_dump::<GetService, DumpServices>(cmd::GET_SERVICE),
    Op::run::<Set>(cmd::NEW_DEST),
    Op::run::<Set>(cmd::SET_DEST),
    Op::run::<Set>(cmd::DEL_DEST),
    Op::dump::<DumpDests>(cmd::GET_DEST),
    Op::run::<SetDaemon>(cmd::NEW_DAEMON),
    Op::run::<SetDaemon>(cmd::DEL_DAEMON),
    Op::dump::<DumpDaemons>(cmd::GET_DAEMON),
    Op::run::<SetConfig>(cmd::SET_CONFIG),
    Op::run::<GetConfig>(cmd::GET_CONFIG),
    Op::run::<GetInfo>(cmd::GET_INFO),
    Op::run::<Zero>(cmd::ZERO),
    Op::run::<Flush>(cmd::FLUSH),
];

/// The family.
pub static FAMILY: Family = Family::new(c"IPVS", 1, &CMD, &OPS, cmd::FLUSH + 1);

/// The state of the sender's namespace.
fn state(request: &Request<'_>) -> Result<NsArc> {
    pernet::get::<Namespaces>(request.net()).ok_or(ENOENT)
}

fn attr<'a>(request: &Request<'a>, n: u16) -> Option<Attr<'a>> {
    request.attr(n.into())
}

// ---- from attributes ----

/// What a request says of a service.
fn service_attrs<'a>(request: &Request<'a>) -> Result<Attrs<'a, 13>> {
    let nested = attr(request, cmd_attr::SERVICE).ok_or(EINVAL)?;
    // Stock does not say which attribute was wrong, only that one was.
    nested.parse(&SERVICE).map_err(|_| EINVAL)
}

fn service_key(attrs: &Attrs<'_, 13>) -> Result<ServiceKey> {
    let get = |n: u16| attrs.get(n.into());
    let af = get(svc_attr::AF).ok_or(EINVAL)?;
    let fwmark = get(svc_attr::FWMARK);
    let by_addr = match (
        get(svc_attr::PROTOCOL),
        get(svc_attr::ADDR),
        get(svc_attr::PORT),
    ) {
        (Some(proto), Some(addr), Some(port)) => Some((proto, addr, port)),
        _ => None,
    };
    if fwmark.is_none() && by_addr.is_none() {
        return Err(EINVAL);
    }
    let af = address_family(af.u16())?;
    match (fwmark, by_addr) {
        (Some(mark), _) => Ok(ServiceKey::by_fwmark(af, mark.u32())),
        (None, Some((proto, addr, port))) => Ok(ServiceKey::by_addr(
            af,
            proto.u16(),
            Addr::from_attr(af, addr.bytes()),
            Port::from_host(port.be16()),
        )),
        (None, None) => Err(EINVAL),
    }
}

fn address_family(n: u16) -> Result<Af> {
    let af = Af::try_from(n).map_err(errno)?;
    if af == Af::Inet6 && !knet::net::has_ipv6() {
        return Err(EAFNOSUPPORT);
    }
    Ok(af)
}

/// How a service shall behave, and which of its flags are given.
fn service_conf(attrs: &Attrs<'_, 13>) -> Result<(ServiceConf, SvcFlags)> {
    let need = |n: u16| attrs.get(n.into()).ok_or(EINVAL);
    let sched = need(svc_attr::SCHED_NAME)?;
    let flags = need(svc_attr::FLAGS)?;
    let timeout = need(svc_attr::TIMEOUT)?;
    let netmask = need(svc_attr::NETMASK)?;
    let [f0, f1, f2, f3, m0, m1, m2, m3] = flags.copy::<8>();
    let flags = SvcFlags(u32::from_ne_bytes([f0, f1, f2, f3]));
    let mask = SvcFlags(u32::from_ne_bytes([m0, m1, m2, m3]));
    let pe = match attrs.get(svc_attr::PE_NAME.into()) {
        Some(name) => Name::new(name.str(), PE_NAME_MAX).map_err(errno)?,
        None => Name::EMPTY,
    };
    let conf = ServiceConf {
        sched: Name::new(sched.str(), SCHED_NAME_MAX).map_err(errno)?,
        pe,
        flags,
        timeout: timeout.u32(),
        netmask: netmask.be32().to_be(),
    };
    Ok((conf, mask))
}

/// What a request says of a real server; `full` if it says how it shall be used, too.
fn dest(request: &Request<'_>, svc_af: Af, full: bool) -> Result<(DestKey, DestConf)> {
    let nested = attr(request, cmd_attr::DEST).ok_or(EINVAL)?;
    let attrs: Attrs<'_, 16> = nested.parse(&DEST).map_err(|_| EINVAL)?;
    let get = |n: u16| attrs.get(n.into());
    let addr = get(dest_attr::ADDR).ok_or(EINVAL)?;
    let port = get(dest_attr::PORT).ok_or(EINVAL)?;
    let af = get(dest_attr::ADDR_FAMILY).map_or(0, |a| a.u16());
    let mut conf = DestConf::default();
    if full {
        let need = |n: u16| get(n).ok_or(EINVAL);
        let (fwd, weight) = (need(dest_attr::FWD_METHOD)?, need(dest_attr::WEIGHT)?);
        let (u, l) = (need(dest_attr::U_THRESH)?, need(dest_attr::L_THRESH)?);
        conf.conn_flags = ConnFlags(fwd.u32()) & ConnFlags::FWD_MASK;
        conf.weight = weight.u32() as i32;
        conf.u_threshold = u.u32();
        conf.l_threshold = l.u32();
        conf.tun_type = get(dest_attr::TUN_TYPE).map_or(0, |a| a.u8().into());
        conf.tun_port = Port::from_host(get(dest_attr::TUN_PORT).map_or(0, |a| a.be16()));
        conf.tun_flags = get(dest_attr::TUN_FLAGS).map_or(0, |a| a.u16());
    }
    let af = if af == 0 { svc_af } else { address_family(af)? };
    let key = DestKey {
        af,
        addr: Addr::from_attr(af, addr.bytes()),
        port: Port::from_host(port.be16()),
    };
    Ok((key, conf))
}

// ---- commands ----

/// Adds, changes and deletes services and real servers.
struct Set;

impl Do for Set {
    fn run(request: &Request<'_>) -> Result {
        let ns = state(request)?;
        let net = request.net();
        let attrs = service_attrs(request)?;
        let key = service_key(&attrs)?;
        match request.cmd() {
            cmd::NEW_SERVICE => {
                let (conf, mask) = service_conf(&attrs)?;
                return ctl::add_service(&ns, &key, &conf, mask);
            }
            cmd::SET_SERVICE => {
                let (conf, mask) = service_conf(&attrs)?;
                return ctl::edit_service(&ns, &key, &conf, mask);
            }
            cmd::DEL_SERVICE => return ctl::del_service(&ns, &key),
            _ => {}
        }
        let full = request.cmd() != cmd::DEL_DEST;
        let dest = dest(request, key.af, full).and_then(|(dest, conf)| {
            if full {
                validate_family(key.af, dest.af, &conf, false).map_err(errno)?;
            }
            Ok((dest, conf))
        });
        // That there is no such service is said first.
        let (dest, conf) = dest.map_err(|e| match ctl::get_service(&ns, &key) {
            Some(_) => e,
            None => ESRCH,
        })?;
        match request.cmd() {
            cmd::NEW_DEST => ctl::add_dest(net, &ns, &key, &dest, &conf),
            cmd::SET_DEST => ctl::edit_dest(&ns, &key, &dest, &conf),
            cmd::DEL_DEST => ctl::del_dest(&ns, &key, &dest),
            _ => Err(EINVAL),
        }
    }
}

/// Zeroes the statistics of one service or of all.
struct Zero;

impl Do for Zero {
    fn run(request: &Request<'_>) -> Result {
        let ns = state(request)?;
        if attr(request, cmd_attr::SERVICE).is_none() {
            return ctl::zero(&ns, None);
        }
        let key = service_key(&service_attrs(request)?)?;
        ctl::zero(&ns, Some(&key))
    }
}

/// Deletes all services.
struct Flush;

impl Do for Flush {
    fn run(request: &Request<'_>) -> Result {
        ctl::flush(&state(request)?);
        Ok(())
    }
}

/// Sets timeouts.
struct SetConfig;

impl Do for SetConfig {
    fn run(request: &Request<'_>) -> Result {
        let ns = state(request)?;
        // What is not given is 0 here, and stays as it is.
        let mut user = TimeoutUser::default();
        let TimeoutUser { tcp, tcp_fin, udp } = &mut user;
        for (n, secs) in [
            (cmd_attr::TIMEOUT_TCP, tcp),
            (cmd_attr::TIMEOUT_TCP_FIN, tcp_fin),
            (cmd_attr::TIMEOUT_UDP, udp),
        ] {
            if let Some(a) = attr(request, n) {
                *secs = a.u32() as i32;
            }
        }
        ctl::set_timeouts(&ns, &user)
    }
}

/// Shows timeouts.
struct GetConfig;

impl Do for GetConfig {
    fn run(request: &Request<'_>) -> Result {
        let user = ctl::timeouts(&*state(request)?);
        request.reply(cmd::SET_CONFIG, |msg| {
            msg.u32(cmd_attr::TIMEOUT_TCP, user.tcp as u32)?;
            msg.u32(cmd_attr::TIMEOUT_TCP_FIN, user.tcp_fin as u32)?;
            msg.u32(cmd_attr::TIMEOUT_UDP, user.udp as u32)
        })
    }
}

/// Shows version and table size.
struct GetInfo;

impl Do for GetInfo {
    fn run(request: &Request<'_>) -> Result {
        let size = state(request)?.conn_tab_size();
        request.reply(cmd::SET_INFO, |msg| {
            msg.u32(info_attr::VERSION, VERSION_CODE)?;
            msg.u32(info_attr::CONN_TAB_SIZE, size)
        })
    }
}

/// Shows a service.
struct GetService;

impl Do for GetService {
    fn run(request: &Request<'_>) -> Result {
        let ns = state(request)?;
        let key = service_key(&service_attrs(request)?)?;
        let svc = ctl::get_service(&ns, &key).ok_or(ESRCH)?;
        request.reply(cmd::NEW_SERVICE, |msg| {
            let guard = rcu::read_lock();
            fill_service(msg, &svc, guard.rcu())
        })
    }
}

/// Synchronisation daemons, which there are none of.
struct SetDaemon;

impl Do for SetDaemon {
    fn run(request: &Request<'_>) -> Result {
        let nested = attr(request, cmd_attr::DAEMON).ok_or(EINVAL)?;
        let attrs = request.parse(nested, &DAEMON).map_err(|_| EINVAL)?;
        let get = |n: u16| attrs.get(n.into());
        let state = get(daemon_attr::STATE).ok_or(EINVAL)?;
        if request.cmd() == cmd::DEL_DAEMON {
            return ip_vs_sync::stop(state.u32());
        }
        let ifn = get(daemon_attr::MCAST_IFN).ok_or(EINVAL)?;
        get(daemon_attr::SYNC_ID).ok_or(EINVAL)?;
        let good = match (
            get(daemon_attr::MCAST_GROUP),
            get(daemon_attr::MCAST_GROUP6),
        ) {
            (Some(v4), _) => Addr::v4(v4.u32()).is_multicast4(),
            (None, Some(v6)) => Addr::from_bytes16(v6.copy()).is_multicast6(),
            (None, None) => true,
        };
        let ns = self::state(request)?;
        if !good || ip_vs_sync::has_mixed_families(&ns) {
            return Err(EINVAL);
        }
        let ifn = Name::new(ifn.str(), IFNAME_MAX).map_err(errno)?;
        ip_vs_sync::start(request.net(), &ns, &ifn, state.u32())
    }
}

/// Synchronisation daemons, which there are none of.
struct DumpDaemons;

impl Dump for DumpDaemons {
    fn run(_dump: &mut Dumper<'_>) -> Result {
        Ok(())
    }
}

// ---- dumps ----

/// All services. Where it is: the table's cursor plus 1 (0 is the start, -1 the end), and how many
/// at the cursor were shown.
struct DumpServices;

impl Dump for DumpServices {
    fn run(dump: &mut Dumper<'_>) -> Result {
        let Some(ns) = pernet::get::<Namespaces>(dump.net()) else {
            return Ok(());
        };
        // No resize meanwhile, so that none is seen twice.
        let _resize = ns.svc_resize.lock();
        let guard = rcu::read_lock();
        let rcu = guard.rcu();
        let [at, shown, ..] = *dump.args();
        let mut cursor = match at {
            -1 => None,
            at => Some(u64::try_from(at.saturating_sub(1)).unwrap_or(0)),
        };
        let mut skip = shown;
        while let Some(at) = cursor {
            let mut index = 0;
            let mut full = false;
            let next = ns.services.walk(rcu, at, |svc, _| {
                if !full && index >= skip {
                    let fill = |msg: &mut Msg<'_>| fill_service(msg, &svc, rcu);
                    full = dump.message(cmd::NEW_SERVICE, fill).is_err();
                }
                if !full {
                    index = index.saturating_add(1);
                }
            });
            let args = dump.args();
            if full {
                args[0] = (at as c_long).saturating_add(1);
                args[1] = index;
                return Err(EMSGSIZE);
            }
            skip = 0;
            args[0] = next.map_or(-1, |n| (n as c_long).saturating_add(1));
            args[1] = 0;
            cursor = next;
        }
        Ok(())
    }
}

/// The real servers of a service. Where it is: how many were shown.
struct DumpDests;

impl Dump for DumpDests {
    fn run(dump: &mut Dumper<'_>) -> Result {
        // Whatever is wrong with the request: stock shows nothing, and calls that success.
        let Some(ns) = pernet::get::<Namespaces>(dump.net()) else {
            return Ok(());
        };
        let Ok(attrs) = dump.parse(&CMD) else {
            return Ok(());
        };
        let key = attrs
            .get(cmd_attr::SERVICE.into())
            .ok_or(EINVAL)
            .and_then(|nested| nested.parse(&SERVICE))
            .and_then(|attrs| service_key(&attrs));
        let Some(svc) = key.ok().and_then(|key| ctl::get_service(&ns, &key)) else {
            return Ok(());
        };
        let guard = rcu::read_lock();
        let Some(roster) = svc.roster.load(guard.rcu()) else {
            return Ok(());
        };
        let shown = usize::try_from(dump.args()[0]).unwrap_or(usize::MAX);
        for dest in roster.value().dests.iter().skip(shown) {
            dump.message(cmd::NEW_DEST, |msg| fill_dest(msg, dest))?;
            let args = dump.args();
            args[0] = args[0].saturating_add(1);
        }
        Ok(())
    }
}

// ---- into messages ----

fn fill_service(msg: &mut Msg<'_>, svc: &Service, rcu: Rcu<'_>) -> Result {
    msg.nest(cmd_attr::SERVICE, |msg| {
        let key = &svc.key;
        msg.u16(svc_attr::AF, key.af.num())?;
        if key.is_fwmark() {
            msg.u32(svc_attr::FWMARK, key.fwmark)?;
        } else {
            msg.u16(svc_attr::PROTOCOL, key.proto)?;
            msg.put(svc_attr::ADDR, &key.addr.to_bytes16())?;
            msg.be16(svc_attr::PORT, key.port.host())?;
        }
        let roster = svc.roster.load(rcu);
        let sched = roster.and_then(|r| r.value().sched.as_ref());
        let sched = sched.map_or(&b"none"[..], |s| s.name().to_bytes());
        msg.str(svc_attr::SCHED_NAME, sched)?;
        let mut flags = [0xff; 8];
        let bits = svc.flags().bits().to_ne_bytes();
        flags.iter_mut().zip(bits).for_each(|(f, b)| *f = b);
        msg.put(svc_attr::FLAGS, &flags)?;
        msg.u32(svc_attr::TIMEOUT, svc.timeout.load(Ordering::Relaxed) / HZ)?;
        let netmask = svc.netmask.load(Ordering::Relaxed);
        msg.be32(svc_attr::NETMASK, u32::from_be(netmask))?;
        fill_stats(msg, svc_attr::STATS, svc_attr::STATS64, &svc.stats)
    })
}

fn fill_dest(msg: &mut Msg<'_>, dest: &Dest) -> Result {
    msg.nest(cmd_attr::DEST, |msg| {
        msg.put(dest_attr::ADDR, &dest.addr.to_bytes16())?;
        msg.be16(dest_attr::PORT, dest.port.host())?;
        let method = dest.conn_flags() & ConnFlags::FWD_MASK;
        msg.u32(dest_attr::FWD_METHOD, method.bits())?;
        msg.u32(dest_attr::WEIGHT, dest.weight() as u32)?;
        let tun_type = dest.tun_type.load(Ordering::Relaxed);
        msg.u8(dest_attr::TUN_TYPE, tun_type as u8)?;
        let tun_port = Port::from_be(dest.tun_port.load(Ordering::Relaxed));
        msg.be16(dest_attr::TUN_PORT, tun_port.host())?;
        msg.u16(dest_attr::TUN_FLAGS, dest.tun_flags.load(Ordering::Relaxed))?;
        msg.u32(
            dest_attr::U_THRESH,
            dest.u_threshold.load(Ordering::Relaxed),
        )?;
        msg.u32(
            dest_attr::L_THRESH,
            dest.l_threshold.load(Ordering::Relaxed),
        )?;
        let conns = dest.conns();
        msg.u32(dest_attr::ACTIVE_CONNS, conns.active() as u32)?;
        msg.u32(dest_attr::INACT_CONNS, conns.inactive() as u32)?;
        let persistent = dest.persistent.load(Ordering::Relaxed);
        msg.u32(dest_attr::PERSIST_CONNS, persistent as u32)?;
        msg.u16(dest_attr::ADDR_FAMILY, dest.af.num())?;
        fill_stats(msg, dest_attr::STATS, dest_attr::STATS64, &dest.stats)
    })
}

fn fill_stats(msg: &mut Msg<'_>, n: u16, n64: u16, stats: &svc::Stats) -> Result {
    let Stats {
        counters: c,
        rates: r,
    } = stats.snapshot();
    msg.nest(n, |msg| fill_stats32(msg, &c, &r))?;
    msg.nest(n64, |msg| {
        for (n, value) in values(&c, &r) {
            msg.u64(n, value, stats_attr::PAD)?;
        }
        Ok(())
    })
}

fn values(c: &Counters, r: &Rates) -> [(u16, u64); 10] {
    [
        (stats_attr::CONNS, c.conns),
        (stats_attr::INPKTS, c.inpkts),
        (stats_attr::OUTPKTS, c.outpkts),
        (stats_attr::INBYTES, c.inbytes),
        (stats_attr::OUTBYTES, c.outbytes),
        (stats_attr::CPS, r.cps),
        (stats_attr::INPPS, r.inpps),
        (stats_attr::OUTPPS, r.outpps),
        (stats_attr::INBPS, r.inbps),
        (stats_attr::OUTBPS, r.outbps),
    ]
}

/// As it was before counters had 64 bits; those of bytes always had.
fn fill_stats32(msg: &mut Msg<'_>, c: &Counters, r: &Rates) -> Result {
    for (n, value) in values(c, r) {
        if n == stats_attr::INBYTES || n == stats_attr::OUTBYTES {
            msg.u64(n, value, stats_attr::PAD)?;
        } else {
            msg.u32(n, value as u32)?;
        }
    }
    Ok(())
}
