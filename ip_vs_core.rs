// SPDX-License-Identifier: GPL-2.0
//! The way of a packet.
//!
//! Stock looks at each packet twice at LOCAL_IN and LOCAL_OUT, for replies and for requests, in two
//! hooks with nothing between them. Here one hook does both with one lookup.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_core.c

use crate::{
    ip_vs_conn::{self as conn, Conn, ConnRef, Direction, Param},
    ip_vs_ctl::{find_service, has_real_service},
    ip_vs_debug, ip_vs_icmp,
    ip_vs_ip::{Family, Ip, V4, V6},
    ip_vs_nfct,
    ip_vs_ns::{NsRef, NsState},
    ip_vs_persist,
    ip_vs_proto::{self as proto, header_len, translate, End, Transport},
    ip_vs_proto_ah_esp,
    ip_vs_sched::{self, Request},
    ip_vs_svc::{count_conn, count_in, count_out, Dest, Roster, Service},
    ip_vs_xmit as xmit,
};
use core::{marker::PhantomData, sync::atomic::Ordering};
use ipvs_logic::{
    addr::{Addr, Af, Endpoint, Port, Proto, Tuple},
    flags::{ConnFlags, FwdMethod, SvcFlags},
    tcp::State,
};
use kernel::prelude::*;
use knet::{
    hook::{Hook, Point, Spec},
    rcu::{Rcu, Ref},
    skb::{Packet, Verdict},
};

/// To this host: requests, and replies to clients on it.
struct LocalIn<F>(PhantomData<F>);
/// Through this host: replies to clients.
struct Forward<F>(PhantomData<F>);
/// From this host: requests of clients and replies of servers on it.
struct LocalOut<F>(PhantomData<F>);

impl<F: Family> Hook<NsState> for LocalIn<F> {
    fn run<'a>(ns: NsRef<'a>, rcu: Rcu<'a>, packet: Packet<'a>) -> Verdict<'a> {
        packet_at::<F>(ns, rcu, packet, Point::LocalIn)
    }
}

impl<F: Family> Hook<NsState> for Forward<F> {
    fn run<'a>(ns: NsRef<'a>, rcu: Rcu<'a>, packet: Packet<'a>) -> Verdict<'a> {
        packet_at::<F>(ns, rcu, packet, Point::Forward)
    }
}

impl<F: Family> Hook<NsState> for LocalOut<F> {
    fn run<'a>(ns: NsRef<'a>, rcu: Rcu<'a>, packet: Packet<'a>) -> Verdict<'a> {
        packet_at::<F>(ns, rcu, packet, Point::LocalOut)
    }
}

/// `NF_IP_PRI_NAT_SRC`, after packet filters.
const PRI_NAT_SRC: i32 = 100;
/// `NF_IP_PRI_NAT_DST`.
const PRI_NAT_DST: i32 = -100;

/// Hooks for IPv4, with the priorities that stock's first hook at each point has.
pub static HOOKS4: [Spec<NsState>; 3] = [
    Spec::ipv4::<LocalIn<V4>>(Point::LocalIn, PRI_NAT_SRC - 2),
    Spec::ipv4::<LocalOut<V4>>(Point::LocalOut, PRI_NAT_DST + 1),
    Spec::ipv4::<Forward<V4>>(Point::Forward, 99),
];

/// The same for IPv6.
pub static HOOKS6: [Spec<NsState>; 3] = [
    Spec::ipv6::<LocalIn<V6>>(Point::LocalIn, PRI_NAT_SRC - 2),
    Spec::ipv6::<LocalOut<V6>>(Point::LocalOut, PRI_NAT_DST + 1),
    Spec::ipv6::<Forward<V6>>(Point::Forward, 99),
];

fn packet_at<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    mut packet: Packet<'a>,
    point: Point,
) -> Verdict<'a> {
    if packet.is_handled() {
        return packet.accept();
    }
    if F::AF == Af::Inet && point == Point::LocalOut && packet.is_nodefrag_socket() {
        return packet.accept();
    }
    let Some(mut ip) = Ip::<F>::read(&packet, packet.network_offset()) else {
        return packet.accept();
    };
    if ip.proto != Proto::TCP && ip.proto != Proto::UDP {
        if ip.proto == F::ICMP {
            return ip_vs_icmp::packet_at(ns, rcu, packet, ip, point);
        }
        if ip_vs_proto_ah_esp::is_ipsec(ip.proto) {
            return ip_vs_proto_ah_esp::packet_at(ns, rcu, packet, &ip, point);
        }
        mark_foreign(ns, &mut packet, point);
        return packet.accept();
    }
    if ip.is_fragment {
        packet = match F::gather(packet, &ip, point) {
            Ok(p) => p,
            Err(verdict) => return verdict,
        };
        match Ip::<F>::read(&packet, packet.network_offset()) {
            Some(whole) => ip = whole,
            None => return packet.accept(),
        }
    }
    let Some(t) = Transport::read(&packet, ip.proto, ip.transport) else {
        return no_ports(packet, point);
    };
    let tuple = ip.tuple(&t);
    let found = conn::lookup(ns, rcu, &tuple);
    ip_vs_debug::lookup(&tuple, found.map(|(_, direction)| direction));
    match found {
        Some((c, Direction::In)) if takes_requests(&packet, point) => {
            request(ns, rcu, packet, &ip, &t, &tuple, c)
        }
        Some((c, Direction::Out)) => reply(ns, rcu, packet, &ip, &t, c, point),
        Some((_, Direction::In)) => {
            // Not looked at as a request here; it may be another connection's reply as well.
            match conn::lookup_to(ns, rcu, &tuple, Direction::Out) {
                Some(c) => reply(ns, rcu, packet, &ip, &t, c, point),
                None => unknown(ns, rcu, packet, &ip, &t, &tuple, point),
            }
        }
        None => unknown(ns, rcu, packet, &ip, &t, &tuple, point),
    }
}

/// Whether requests are looked at here: not what is only overheard, and not what passes through.
#[inline]
pub fn takes_requests(packet: &Packet<'_>, point: Point) -> bool {
    match point {
        Point::LocalIn => packet.is_for_host(),
        Point::LocalOut => true,
        Point::Forward => false,
    }
}

/// Of a protocol that is not balanced. If we see it again it comes out of a tunnel: the settings may
/// say that it is done with then.
#[cold]
pub fn mark_foreign(ns: NsRef<'_>, packet: &mut Packet<'_>, point: Point) {
    let ignored = ns.value().sysctl.ignore_tunneled.load(Ordering::Relaxed) != 0;
    if ignored && takes_requests(packet, point) {
        packet.set_handled();
    }
}

/// Not even ports: stock drops what it would have to schedule.
#[cold]
fn no_ports(packet: Packet<'_>, point: Point) -> Verdict<'_> {
    if takes_requests(&packet, point) {
        packet.drop()
    } else {
        packet.accept()
    }
}

/// From a client, for a connection there is.
#[inline]
fn request<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: Packet<'a>,
    ip: &Ip<F>,
    t: &Transport,
    tuple: &Tuple,
    c: ConnRef<'a>,
) -> Verdict<'a> {
    let opens = t.tcp.is_some_and(|f| f.syn());
    if opens && is_reopened(ns, c) {
        return reopen(ns, rcu, packet, ip, t, tuple, c);
    }
    if let Some(dest) = &c.value().dest {
        if !dest.is_available() {
            return server_gone(ns, rcu, packet, ip, t, tuple, c);
        }
    }
    forward(ns, rcu, packet, ip, t, c)
}

/// Counts a request, moves the connection on, and sends it to the server.
#[inline]
fn forward<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: Packet<'a>,
    ip: &Ip<F>,
    t: &Transport,
    c: ConnRef<'a>,
) -> Verdict<'a> {
    let cv = c.value();
    if let Some(dest) = &cv.dest {
        count_in(ns.value(), dest, rcu, packet.len());
    }
    proto::set_state(ns.value(), c, Direction::In, t);
    cv.count_in();
    conn::touch(c);
    xmit::forward(packet, ip, c, rcu, false)
}

/// Whether the first packet of a new connection came for one that is done.
#[cold]
fn is_reopened(ns: NsRef<'_>, c: ConnRef<'_>) -> bool {
    let sysctl = &ns.value().sysctl;
    let cv = c.value();
    if sysctl.expire_nodest_conn.load(Ordering::Relaxed) != 0 {
        if let Some(dest) = &cv.dest {
            if dest.weight() == 0 {
                return true;
            }
        }
    }
    let mode = sysctl.conn_reuse_mode.load(Ordering::Relaxed);
    if mode == 0 || !cv.control.is_empty() {
        return false;
    }
    let status = cv.status();
    match State::from_num(status.state().into()) {
        Some(State::TimeWait | State::Close) => true,
        Some(State::FinWait) => mode & 2 != 0 && status.flags().contains(ConnFlags::NOOUTPUT),
        _ => false,
    }
}

/// The old connection makes place for a new one.
#[cold]
fn reopen<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: Packet<'a>,
    ip: &Ip<F>,
    t: &Transport,
    tuple: &Tuple,
    c: ConnRef<'a>,
) -> Verdict<'a> {
    if gives_way(&packet, c) {
        schedule(ns, rcu, packet, ip, t, tuple)
    } else {
        packet.drop()
    }
}

/// Has a connection end, so that another can take its place. False if not yet: the packet's entry of
/// connection tracking leads to the old server, and goes with the connection. Let the client retry.
pub fn gives_way(packet: &Packet<'_>, c: ConnRef<'_>) -> bool {
    let tracked = packet.is_ct_confirmed();
    if !tracked {
        c.value().clear_flags(ConnFlags::NFCT);
    }
    conn::expire_now(c);
    !tracked
}

/// The server was removed.
#[cold]
fn server_gone<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: Packet<'a>,
    ip: &Ip<F>,
    t: &Transport,
    tuple: &Tuple,
    c: ConnRef<'a>,
) -> Verdict<'a> {
    if ns.value().sysctl.expire_nodest_conn.load(Ordering::Relaxed) == 0 {
        return packet.drop();
    }
    reopen(ns, rcu, packet, ip, t, tuple, c)
}

/// From a real server, for a connection there is.
#[inline]
fn reply<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    mut packet: Packet<'a>,
    ip: &Ip<F>,
    t: &Transport,
    c: ConnRef<'a>,
    point: Point,
) -> Verdict<'a> {
    let cv = c.value();
    if cv.method() != Some(FwdMethod::Masq) {
        return replied(ns, rcu, packet, t, c);
    }
    let header_end = ip.transport.saturating_add(header_len(cv.proto));
    if packet.make_writable(header_end, 0).is_err() {
        conn::touch(c);
        return packet.free();
    }
    translate::<F>(
        &mut packet,
        cv.proto,
        ip.transport,
        End::Src,
        &cv.real,
        &cv.virt,
        &cv.client.addr,
    );
    ip.set_addr(&mut packet, End::Src, &cv.virt.addr);
    if reroute::<F>(ns, &mut packet, point).is_err() {
        conn::touch(c);
        return packet.free();
    }
    replied(ns, rcu, packet, t, c)
}

/// Moves the connection on by a reply, and lets that go to the client.
#[inline]
fn replied<'a>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: Packet<'a>,
    t: &Transport,
    c: ConnRef<'a>,
) -> Verdict<'a> {
    proto::set_state(ns.value(), c, Direction::Out, t);
    conn::touch(c);
    accept_reply(ns, rcu, packet, c.value())
}

/// Finds the way of a reply anew, now that it comes from the virtual address, if that is wanted.
#[inline]
pub fn reroute<F: Family>(ns: NsRef<'_>, packet: &mut Packet<'_>, point: Point) -> Result {
    let sysctl = &ns.value().sysctl;
    if point == Point::LocalIn || sysctl.snat_reroute.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    F::reroute(packet)
}

/// Counts what comes from a real server, and lets it go to the client.
#[inline]
pub fn accept_reply<'a>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    mut packet: Packet<'a>,
    conn: &Conn,
) -> Verdict<'a> {
    if let Some(dest) = &conn.dest {
        count_out(ns.value(), dest, rcu, packet.len());
    }
    packet.set_handled();
    ip_vs_nfct::reply(&mut packet, conn);
    packet.accept()
}

/// For no connection there is.
#[inline]
fn unknown<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: Packet<'a>,
    ip: &Ip<F>,
    t: &Transport,
    tuple: &Tuple,
    point: Point,
) -> Verdict<'a> {
    if ns.value().sysctl.nat_icmp_send.load(Ordering::Relaxed) != 0 && is_stray(ns, rcu, tuple, t) {
        let mut packet = packet;
        F::send_port_unreachable(&mut packet);
        return packet.drop();
    }
    if takes_requests(&packet, point) {
        schedule(ns, rcu, packet, ip, t, tuple)
    } else {
        packet.accept()
    }
}

/// Whether a real server sends this for a connection that is gone.
#[cold]
fn is_stray<'a>(ns: NsRef<'a>, rcu: Rcu<'a>, tuple: &Tuple, t: &Transport) -> bool {
    !t.tcp.is_some_and(|f| f.rst()) && has_real_service(ns, rcu, tuple)
}

/// Finds a server for a new connection and sends the packet there.
#[inline]
fn schedule<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: Packet<'a>,
    ip: &Ip<F>,
    t: &Transport,
    tuple: &Tuple,
) -> Verdict<'a> {
    if !t.whole {
        return packet.drop();
    }
    if let Some(f) = t.tcp {
        let sloppy = ns.value().sysctl.sloppy_tcp.load(Ordering::Relaxed) != 0;
        if f.rst() || !(f.syn() || sloppy) {
            return packet.accept();
        }
    }
    let Some(svc) = find_service(ns, rcu, packet.net(), packet.mark(), tuple) else {
        return packet.accept();
    };
    if ns.value().defense.drops_packet() {
        ip_vs_debug::dropped("packet");
        return packet.drop();
    }
    if t.src == Port::FTP_DATA {
        // Active FTP: the server's own connection to the client.
        return packet.accept();
    }
    if packet.is_from_local() && is_reply_of_local_server(ns, rcu, tuple) {
        return packet.accept();
    }
    match new_conn(ns, rcu, &packet, svc, tuple, false) {
        NewConn::Made(c) => {
            let verdict = forward(ns, rcu, packet, ip, t, c);
            conn::start(c, rcu);
            verdict
        }
        NewConn::NoServer => no_server(ns, rcu, packet, ip, svc.value(), t, tuple),
        NewConn::Failed => packet.drop(),
    }
}

/// Finds a server for the connection that `request` would begin, of which an ICMP packet only quotes
/// a reply. `Err`: no service, no server.
#[cold]
pub fn schedule_icmp<'a>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: Packet<'a>,
    request: &Tuple,
) -> Result<(Packet<'a>, ConnRef<'a>), Verdict<'a>> {
    let Some(svc) = find_service(ns, rcu, packet.net(), packet.mark(), request) else {
        return Err(packet.accept());
    };
    if ns.value().defense.drops_packet() {
        ip_vs_debug::dropped("packet");
        return Err(packet.drop());
    }
    let ours = request.src.port == Port::FTP_DATA
        || packet.is_from_local() && is_reply_of_local_server(ns, rcu, request);
    if ours {
        return Err(packet.accept());
    }
    match new_conn(ns, rcu, &packet, svc, request, true) {
        NewConn::Made(c) => {
            c.value().set_timeout(ns.value().timeouts.icmp());
            Ok((packet, c))
        }
        // An FTP service is asked about every port of its address.
        NewConn::NoServer if is_port_of_others(svc.value(), request.dst.port) => {
            Err(packet.accept())
        }
        NewConn::NoServer | NewConn::Failed => Err(packet.drop()),
    }
}

/// Whether the opposite direction is a client's: then this is from its server on this host.
#[cold]
fn is_reply_of_local_server(ns: NsRef<'_>, rcu: Rcu<'_>, tuple: &Tuple) -> bool {
    conn::lookup_to(ns, rcu, &tuple.swapped(), Direction::In).is_some()
}

/// What became of a new connection.
pub enum NewConn<'a> {
    /// It exists. Its timer is not running yet.
    Made(ConnRef<'a>),
    /// No server wants it.
    NoServer,
    /// Too many connections, or no memory.
    Failed,
}

fn new_conn<'a>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: &Packet<'a>,
    svc: Ref<'a, Service>,
    tuple: &Tuple,
    is_reply: bool,
) -> NewConn<'a> {
    let sv = svc.value();
    if sv.flags().contains(SvcFlags::PERSISTENT) {
        return ip_vs_persist::schedule(ns, rcu, packet, svc, tuple, is_reply);
    }
    if !sv.is_fwmark() && tuple.dst.port != sv.key.port {
        if sv.key.port.is_zero() {
            pr_err!(
                "Schedule: port zero only supported in persistent services, check your ipvs \
                 configuration\n"
            );
        }
        return NewConn::NoServer;
    }
    let Some(dest) = choose(rcu, sv, tuple, is_reply) else {
        ip_vs_debug::no_dest("Schedule");
        return NewConn::NoServer;
    };
    let dv = dest.value();
    let param = Param {
        tuple,
        real_af: dv.af,
        real: Endpoint::new(
            dv.addr,
            if dv.port.is_zero() {
                tuple.dst.port
            } else {
                dv.port
            },
        ),
        flags: first_flags(sv, tuple),
        fwmark: packet.mark(),
    };
    match conn::create(ns, rcu, &param, Some(dest)) {
        Some(c) => {
            count_conn(ns.value(), dv, sv);
            ip_vs_debug::scheduled(c.value());
            NewConn::Made(c)
        }
        None => NewConn::Failed,
    }
}

/// The server that a service gives a new connection.
pub fn choose<'a>(
    rcu: Rcu<'a>,
    svc: &'a Service,
    tuple: &Tuple,
    is_reply: bool,
) -> Option<Ref<'a, Dest>> {
    let request = Request {
        tuple,
        is_reply,
        service: &svc.key,
        flags: svc.flags(),
    };
    let roster = svc.roster.load(rcu);
    let dest = roster.and_then(|roster| Roster::choose(roster, &request, rcu));
    if dest.is_none() {
        ip_vs_sched::complain(svc, &request, rcu);
    }
    dest
}

/// Flags that a service gives a new connection.
pub fn first_flags(svc: &Service, tuple: &Tuple) -> ConnFlags {
    if svc.flags().contains(SvcFlags::ONEPACKET) && tuple.proto == Proto::UDP {
        ConnFlags::ONE_PACKET
    } else {
        ConnFlags::NONE
    }
}

/// No server wants it: tell the client.
#[cold]
fn no_server<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    mut packet: Packet<'a>,
    ip: &Ip<F>,
    svc: &Service,
    t: &Transport,
    tuple: &Tuple,
) -> Verdict<'a> {
    let bypassed = ns.value().sysctl.cache_bypass.load(Ordering::Relaxed) != 0
        && svc.is_fwmark()
        && F::is_other_host(packet.net(), &tuple.dst.addr);
    if bypassed {
        return bypass(ns, rcu, packet, ip, svc, t, tuple);
    }
    if is_port_of_others(svc, t.dst) {
        return packet.accept();
    }
    F::send_port_unreachable(&mut packet);
    packet.drop()
}

/// A cache that is down is passed by: makes a connection without a server.
fn bypass<'a, F: Family>(
    ns: NsRef<'a>,
    rcu: Rcu<'a>,
    packet: Packet<'a>,
    ip: &Ip<F>,
    svc: &Service,
    t: &Transport,
    tuple: &Tuple,
) -> Verdict<'a> {
    ip_vs_debug::bypassed();
    let none = Endpoint::new(Addr::default(), Port::ZERO);
    let param = Param {
        tuple,
        real_af: tuple.af,
        real: none,
        flags: first_flags(svc, tuple).with_fwd(FwdMethod::Bypass),
        fwmark: packet.mark(),
    };
    let Some(c) = conn::create(ns, rcu, &param, None) else {
        return packet.drop();
    };
    let verdict = forward(ns, rcu, packet, ip, t, c);
    conn::start(c, rcu);
    verdict
}

/// An FTP service is asked about every port of its address; others may own them.
fn is_port_of_others(svc: &Service, port: Port) -> bool {
    svc.key.port == Port::FTP && port != Port::FTP
}
