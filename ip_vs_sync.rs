// SPDX-License-Identifier: GPL-2.0
//! Synchronisation daemons: what is refused before one would start. There are none yet.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_sync.c

use crate::{ip_vs_conn, ip_vs_ns::NsArc};
use ipvs_logic::ctl::Name;
use kernel::prelude::*;
use knet::net::Net;

/// State of the daemon that sends.
const MASTER: u32 = 1;
/// State of the daemon that receives.
const BACKUP: u32 = 2;

/// Starts a synchronisation daemon, which cannot be done yet.
///
/// # Errors
///
/// `ENODEV` without the interface; `EINVAL` if `state` is not that of a daemon; `ENOMEM`; else
/// `EOPNOTSUPP`.
pub fn start(net: &Net, ns: &NsArc, ifn: &Name, state: u32) -> Result {
    // Connections that are received need a table, also without services.
    if state == BACKUP {
        let _control = ns.control.lock();
        ip_vs_conn::prepare_table(ns)?;
    }
    if !net.has_device(&ifn.to_field()) {
        let name = ifn.as_str().unwrap_or("?");
        pr_err!("Unknown mcast interface: {}\n", name);
        return Err(ENODEV);
    }
    if state != MASTER && state != BACKUP {
        return Err(EINVAL);
    }
    pr_err!("synchronisation daemons are not supported yet\n");
    Err(EOPNOTSUPP)
}

/// Stops a synchronisation daemon, which there are none of.
///
/// # Errors
///
/// `ESRCH`; `EINVAL` if `state` is not that of one.
pub fn stop(state: u32) -> Result {
    Err(match state {
        MASTER | BACKUP => ESRCH,
        _ => EINVAL,
    })
}

/// Whether there are real servers of another family than their service's, which the messages of
/// daemons have no place for.
pub fn has_mixed_families(ns: &NsArc) -> bool {
    let mut mixed = false;
    ns.services.for_each(0, |svc, rcu| {
        let Some(roster) = svc.roster.load(rcu) else {
            return;
        };
        mixed |= roster.value().dests.iter().any(|d| d.af != svc.key.af);
    });
    mixed
}
