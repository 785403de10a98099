// SPDX-License-Identifier: GPL-2.0
//! Configuration: services and real servers come, change and go.
//!
//! All of it under the `control` mutex of the namespace. What packets see is published by RCU: the
//! service table, and for each service a roster that is replaced as a whole.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_ctl.c

use crate::{
    ip_vs_ns::{Ns, NsArc, NsRef},
    ip_vs_svc::{Dest, Service, StatsPool},
};
use core::sync::atomic::{AtomicI32, Ordering};
use ipvs_logic::{
    addr::{service_hash, Addr, Af, Port, Proto, Tuple},
    ctl::{CtlError, ServiceKey},
    flags::FwdMethod,
    timeouts::{jiffies_to_secs, secs_to_jiffies, TimeoutId, TimeoutUser},
};
use kernel::prelude::*;
use knet::{
    module::ModuleRef,
    net::Net,
    rcu::{Rcu, Ref},
    table::Shape,
    timed::HZ,
};

mod dest;
mod service;
mod trash;

pub use dest::{add_dest, clear_trash, del_dest, edit_dest, forget_device, trash_work};
pub use service::{
    add_service, clear, del_service, edit_service, flush, get_service, svc_resize_work, zero,
};
use trash::Trash;

/// What only configuration changes.
pub struct Control {
    trash: Trash,
    /// For services and real servers.
    stats: StatsPool,
    /// Keep ip_vs.ko loaded: one a service.
    holds: KVec<ModuleRef>,
}

/// Size of the table of real servers.
pub const REAL_SERVERS_SHAPE: Shape = Shape {
    bits: 4,
    lfactor: 0,
    grow_above: i32::MAX,
};

impl Control {
    /// Nothing configured.
    pub fn new(stats: StatsPool) -> Result<Self> {
        Ok(Self {
            trash: Trash::new()?,
            stats,
            holds: KVec::new(),
        })
    }
}

/// The kernel's error for one of ours.
pub fn errno(e: CtlError) -> Error {
    Error::from_errno(-e.errno())
}

/// The service with exactly this key.
#[inline]
pub fn find_exact<'g>(ns: NsRef<'g>, rcu: Rcu<'g>, key: &ServiceKey) -> Option<Ref<'g, Service>> {
    let hash = key.hash(&ns.value().svc_key);
    let (svc, _) = ns
        .value()
        .services
        .find(rcu, hash, |s, _| s.key.same(key))?;
    Some(svc)
}

fn any(n: &AtomicI32) -> bool {
    n.load(Ordering::Relaxed) != 0
}

/// The service a request is for.
#[inline]
pub fn find_service<'g>(
    ns: NsRef<'g>,
    rcu: Rcu<'g>,
    net: &Net,
    fwmark: u32,
    t: &Tuple,
) -> Option<Ref<'g, Service>> {
    let (af, counts) = (t.af, &ns.value().counts);
    if fwmark != 0 && any(counts.fwmark.of(af)) {
        let svc = find_exact(ns, rcu, &ServiceKey::by_fwmark(af, fwmark));
        if svc.is_some() {
            return svc;
        }
    }
    if !any(counts.addr.of(af)) {
        return None;
    }
    let at = |port| {
        let key = ServiceKey::by_addr(af, t.proto, t.dst.addr, port);
        find_exact(ns, rcu, &key)
    };
    let port = t.dst.port;
    at(port)
        .or_else(|| {
            let ftp = t.proto == Proto::TCP
                && any(counts.ftp.of(af))
                && (port == Port::FTP_DATA || !net.is_privileged_port(port.host()));
            ftp.then(|| at(Port::FTP)).flatten()
        })
        .or_else(|| {
            any(counts.any_port.of(af))
                .then(|| at(Port::ZERO))
                .flatten()
        })
}

/// Whether a real server answers with this source.
pub fn has_real_service<'g>(ns: NsRef<'g>, rcu: Rcu<'g>, t: &Tuple) -> bool {
    let (addr, port) = (t.src.addr, t.src.port);
    let hash = real_server_hash(ns.value(), t.af, &addr, port);
    let found = ns.value().real_servers.find(rcu, hash, |d, _| {
        d.af == t.af
            && d.addr == addr
            && d.port == port
            && (d.service.proto == t.proto.into() || d.service.is_fwmark())
            && d.conn_flags().is_masq()
    });
    found.is_some()
}

/// The real server at this address that has a tunnel with this port; 0 if it needs none.
pub fn find_tunnel<'g>(
    ns: NsRef<'g>,
    rcu: Rcu<'g>,
    addr: &Addr,
    port: Port,
) -> Option<Ref<'g, Dest>> {
    let hash = real_server_hash(ns.value(), Af::Inet, addr, port);
    let (dest, _) = ns.value().real_servers.find(rcu, hash, |d, _| {
        d.tunnel_port() == port
            && d.af == Af::Inet
            && d.addr == *addr
            && d.conn_flags().fwd() == Some(FwdMethod::Tunnel)
    })?;
    Some(dest)
}

fn real_server_hash(ns: &Ns, af: Af, addr: &Addr, port: Port) -> u32 {
    service_hash(&ns.svc_key, af, 0u16, addr, port)
}

/// Timeouts that `ipvsadm --set` knows, in seconds.
pub fn timeouts(ns: &Ns) -> TimeoutUser {
    TimeoutUser {
        tcp: timeout(ns, TimeoutId::Established),
        tcp_fin: timeout(ns, TimeoutId::FinWait),
        udp: timeout(ns, TimeoutId::Udp),
    }
}

/// A timeout in seconds.
pub fn timeout(ns: &Ns, id: TimeoutId) -> i32 {
    let secs = jiffies_to_secs(ns.timeouts.get(id), HZ);
    i32::try_from(secs).unwrap_or(i32::MAX)
}

/// Changes a timeout, for timers that are started from now on.
///
/// # Errors
///
/// `EINVAL` for less than a second, or too much for jiffies.
pub fn set_timeout(ns: NsRef<'_>, id: TimeoutId, secs: i32) -> Result {
    if secs < 1 {
        return Err(EINVAL);
    }
    let jiffies = secs_to_jiffies(secs, HZ).map_err(errno)?;
    ns.value().timeouts.set(id, jiffies);
    Ok(())
}

/// Changes timeouts; 0 leaves one as it is.
///
/// # Errors
///
/// `EINVAL` for what is negative or too large; nothing is changed then.
pub fn set_timeouts(ns: &NsArc, user: &TimeoutUser) -> Result {
    let _control = ns.control.lock();
    for (id, jiffies) in user.validate(HZ).map_err(errno)? {
        if let Some(j) = jiffies {
            ns.timeouts.set(id, j);
        }
    }
    Ok(())
}
