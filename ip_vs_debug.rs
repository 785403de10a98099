// SPDX-License-Identifier: GPL-2.0
//! What sysctl `debug_level` shows: messages and levels of stock's debug build, at most some a
//! second. One level for all namespaces, which the first one sets.
//!
//! C counterpart: `IP_VS_DBG()`, include/net/ip_vs.h, and where it is used

use crate::{
    ip_vs_conn::{Conn, Direction, Status},
    ip_vs_ns::NsRef,
    ip_vs_proto::state_name,
    ip_vs_svc::Dest,
};
use core::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};
use ipvs_logic::{
    addr::{Addr, Af, Endpoint, Tuple},
    tcp::TcpFlags,
};
use kernel::prelude::*;
use knet::debug::{self, print, wants};

/// Greatest level.
const LEVEL_MAX: i32 = 12;

const PREFIX: &[u8] = b"IPVS\0";

/// Prints a message of a level, if it is wanted. What it is made of is looked at only then.
macro_rules! say {
    ($level:literal, $($message:tt)*) => {
        if debug::is_on() && wants($level) {
            print(PREFIX, format_args!($($message)*));
        }
    };
}

/// The level.
pub fn level() -> i32 {
    debug::level()
}

/// Changes the level.
///
/// # Errors
///
/// `EINVAL` if it is not one from 0 to 12.
pub fn set_level(ns: NsRef<'_>, new: i32) -> Result {
    if !(0..=LEVEL_MAX).contains(&new) {
        return Err(EINVAL);
    }
    debug::set_level(new, &ns.value().control);
    Ok(())
}

/// An end as it is printed.
struct End(Af, Endpoint);

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(af, Endpoint { addr, port }) = self;
        f.write_fmt(format_args!("{}:{}", Ip(*af, addr), port.host()))
    }
}

/// An address as it is printed.
struct Ip<'a>(Af, &'a Addr);

impl fmt::Display for Ip<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(af, addr) = self;
        match af {
            Af::Inet => f.write_fmt(format_args!("{}", Ipv4Addr::from(addr.v4_host()))),
            Af::Inet6 => f.write_fmt(format_args!("[{}]", Ipv6Addr::from(addr.to_bytes16()))),
        }
    }
}

/// The three ends of a connection.
struct Ends<'a>(&'a Conn);

impl fmt::Display for Ends<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = self.0;
        f.write_fmt(format_args!(
            "c:{} v:{} d:{}",
            End(c.af, c.client),
            End(c.af, c.virt),
            End(c.real_af, c.real)
        ))
    }
}

/// A connection was looked up for a packet.
#[inline(always)]
pub fn lookup(t: &Tuple, found: Option<Direction>) {
    if debug::is_on() {
        looked_up(t, found);
    }
}

#[cold]
fn looked_up(t: &Tuple, found: Option<Direction>) {
    if !wants(9) {
        return;
    }
    let (way, hit) = match found {
        Some(Direction::In) => ("in", "hit"),
        Some(Direction::Out) => ("out", "hit"),
        None => ("in", "not hit"),
    };
    let (src, dst) = (End(t.af, t.src), End(t.af, t.dst));
    print(
        PREFIX,
        format_args!("lookup/{} {} {}->{} {}\n", way, t.proto, src, dst, hit),
    );
}

/// A template was looked up.
pub fn template(key: &Tuple, is_found: bool) {
    say!(
        9,
        "template lookup/in {} {}->{} {}\n",
        key.proto,
        End(key.af, key.src),
        End(key.af, key.dst),
        if is_found { "hit" } else { "not hit" }
    );
}

/// A template is not followed, because its server takes no clients.
pub fn not_followed(template: &Conn) {
    say!(
        9,
        "check_template: dest not available for protocol {} s:{} v:{} -> d:{}\n",
        template.proto,
        End(template.af, template.client),
        End(template.af, template.virt),
        End(template.real_af, template.real)
    );
}

/// A client of a persistent service comes; its network is that of `key`.
pub fn persistent(request: &Tuple, key: &Tuple) {
    say!(
        6,
        "p-schedule: src {} dest {} mnet {}\n",
        End(request.af, request.src),
        End(request.af, request.dst),
        Ip(request.af, &key.src.addr)
    );
}

/// No server took a new connection.
pub fn no_dest(what: &str) {
    say!(1, "{}: no dest found.\n", what);
}

/// A connection without a server is made, past a cache.
pub fn bypassed() {
    say!(6, "ip_vs_leave(): create a cache_bypass entry\n");
}

/// A connection begins to be controlled by another, or ends.
pub fn controlled(verb: &str, c: &Conn, control: &Conn) {
    say!(
        7,
        "{} control for: cp.dst={} ctl_cp.dst={}\n",
        verb,
        End(c.af, c.client),
        End(c.af, control.client)
    );
}

/// A new connection got a server.
#[inline(always)]
pub fn scheduled(c: &Conn) {
    say!(
        6,
        "Schedule fwd:{} {} conn->flags:{:X}\n",
        c.flags().fwd_tag(),
        Ends(c),
        c.flags().bits()
    );
}

/// A connection was bound to its server.
#[inline(always)]
pub fn bound(c: &Conn, dest: &Dest) {
    if debug::is_on() {
        binding("Bind-dest", c, dest);
    }
}

/// A connection ends, and its server is rid of it.
#[inline(always)]
pub fn unbound(c: &Conn, dest: &Dest) {
    if debug::is_on() {
        binding("Unbind-dest", c, dest);
    }
}

#[cold]
fn binding(what: &str, c: &Conn, dest: &Dest) {
    if !wants(7) {
        return;
    }
    let status = c.status();
    print(
        PREFIX,
        format_args!(
            "{} {} {} fwd:{} s:{} conn->flags:{:X} dest->conns:{}\n",
            what,
            c.proto,
            Ends(c),
            status.flags().fwd_tag(),
            status.state(),
            status.flags().bits(),
            dest.conns().total()
        ),
    );
}

/// The state of a TCP connection changed.
#[inline(always)]
pub fn state_changed(c: &Conn, dir: Direction, flags: TcpFlags, old: Status, new: Status) {
    if debug::is_on() && old.state() != new.state() && wants(8) {
        let way = match dir {
            Direction::In => "input ",
            Direction::Out => "output ",
        };
        let flag = |set: bool, letter: char| if set { letter } else { '.' };
        print(
            PREFIX,
            format_args!(
                "{} {} [{}{}{}{}] {} state: {}->{}\n",
                c.proto,
                way,
                flag(flags.syn(), 'S'),
                flag(flags.fin(), 'F'),
                flag(flags.ack(), 'A'),
                flag(flags.rst(), 'R'),
                Ends(c),
                state_name(c.proto, old),
                state_name(c.proto, new)
            ),
        );
    }
}

/// A connection cannot end yet because something needs it.
#[inline(always)]
pub fn delayed(c: &Conn) {
    if debug::is_on() && wants(7) {
        print(PREFIX, format_args!("delayed: {} {}\n", c.proto, Ends(c)));
    }
}

/// Something was dropped.
#[inline(always)]
pub fn dropped(what: &str) {
    if debug::is_on() && wants(4) {
        print(PREFIX, format_args!("drop {}\n", what));
    }
}
