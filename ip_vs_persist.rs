// SPDX-License-Identifier: GPL-2.0
//! Persistence: clients stay with their server.
//!
//! A template in the connection table remembers the server of a client, or of a network of them. It
//! is counted by its connections and lives at least as long as they do, then for the timeout of
//! its service.
//!
//! C counterpart: `ip_vs_sched_persist()`, net/netfilter/ipvs/ip_vs_core.c

use crate::{
    ip_vs_conn::{self as conn, Conn, ConnRef, Param},
    ip_vs_core::{choose, first_flags, NewConn},
    ip_vs_debug,
    ip_vs_ns::{NsRef, NsState},
    ip_vs_svc::{count_conn, Dest, Service},
};
use core::sync::atomic::Ordering;
use ipvs_logic::{
    addr::{Endpoint, Tuple},
    flags::{ConnFlags, SvcFlags},
    persist::{server_port, template_key, template_port},
};
use knet::{
    rcu::{Arc, Rcu, Ref},
    skb::Packet,
    timed::Timed,
};

/// A template in use, and the server it leads to.
struct Followed<'a> {
    template: Arc<Timed<Conn>>,
    dest: Ref<'a, Dest>,
    /// Its timer does not run yet.
    is_new: bool,
}

/// A new connection of a persistent service: to the server that the client has, else to one that the
/// scheduler gives it.
#[cold]
pub fn schedule<'a>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: &Packet<'a>,
    svc: Ref<'a, Service>,
    request: &Tuple,
    is_reply: bool,
) -> NewConn<'a> {
    let sv = svc.value();
    // Where a persistence engine would have its say: it may find templates by what is in the packet.
    let key = template_key(&sv.key, sv.netmask.load(Ordering::Relaxed), request);
    ip_vs_debug::persistent(request, &key);
    let followed = match follow(ns, rcu, &key) {
        Some(f) => f,
        None => {
            let Some(dest) = choose(rcu, sv, request, is_reply) else {
                ip_vs_debug::no_dest("p-schedule");
                return NewConn::NoServer;
            };
            match new_template(ns, rcu, packet, sv, request, &key, dest) {
                Some(f) => f,
                None => return NewConn::Failed,
            }
        }
    };
    let dv = followed.dest.value();
    let param = Param {
        tuple: request,
        real_af: dv.af,
        real: Endpoint::new(dv.addr, server_port(&sv.key, request, dv.port)),
        flags: first_flags(sv, request),
        fwmark: packet.mark(),
    };
    let made = conn::create(ns, rcu, &param, Some(followed.dest));
    let template = Arc::as_ref_rcu(&followed.template, rcu);
    if let Some(c) = made {
        ip_vs_debug::controlled("ADDing", c.value(), template.value());
        c.set_control(followed.template);
    } else {
        drop(followed.template);
    }
    if followed.is_new {
        conn::start(template, rcu);
    } else {
        conn::touch(template);
    }
    match made {
        Some(c) => {
            count_conn(ns.value(), dv, sv);
            NewConn::Made(c)
        }
        None => NewConn::Failed,
    }
}

/// The template with this key, if its server takes new connections.
fn follow<'a>(ns: NsRef<'a>, rcu: Rcu<'a>, key: &Tuple) -> Option<Followed<'a>> {
    let found = conn::find_template(ns, rcu, key);
    ip_vs_debug::template(key, found.is_some());
    let template = found?;
    // One that is just ending is none.
    let counted = template.get()?;
    match &template.value().dest {
        Some(dest) if takes_clients(ns.value(), dest) => Some(Followed {
            template: counted,
            dest: Arc::as_ref_rcu(dest, rcu),
            is_new: false,
        }),
        _ => {
            ip_vs_debug::not_followed(template.value());
            template.invalidate();
            None
        }
    }
}

fn takes_clients(ns: &NsState, dest: &Dest) -> bool {
    let quiescent = ns.sysctl.expire_quiescent_template.load(Ordering::Relaxed) != 0;
    dest.is_available() && !(quiescent && dest.weight() == 0)
}

fn new_template<'a>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: &Packet<'a>,
    svc: &Service,
    request: &Tuple,
    key: &Tuple,
    dest: Ref<'a, Dest>,
) -> Option<Followed<'a>> {
    let dv = dest.value();
    let param = Param {
        tuple: key,
        real_af: dv.af,
        real: Endpoint::new(dv.addr, template_port(&svc.key, request, dv.port)),
        flags: ConnFlags::TEMPLATE,
        fwmark: packet.mark(),
    };
    let made = conn::create(ns, rcu, &param, Some(dest))?;
    made.set_timeout(svc.timeout.load(Ordering::Relaxed));
    // The table has a reference, and without a timer it cannot end.
    Some(Followed {
        template: made.get()?,
        dest,
        is_new: true,
    })
}

/// Whether a template must be kept when connections are dropped at random, as far as this can be told
/// by it alone. `None`: no, if it is idle.
pub fn is_kept(template: ConnRef<'_>, rcu: Rcu<'_>) -> Option<bool> {
    let svc = template.dest.as_ref().and_then(|d| d.svc.load(rcu));
    if svc.is_some_and(|s| s.flags().contains(SvcFlags::ONEPACKET)) {
        return None;
    }
    Some(template.is_assured())
}
