// SPDX-License-Identifier: GPL-2.0
//! What differs between TCP and UDP: headers, checksums, states.
//!
//! C counterparts: net/netfilter/ipvs/ip_vs_proto_tcp.c, ip_vs_proto_udp.c

use crate::{
    ip_vs_conn::{ConnRef, Direction, Status},
    ip_vs_debug,
    ip_vs_ip::Family,
    ip_vs_ns::NsState,
};
use core::sync::atomic::{AtomicU32, Ordering};
use ipvs_logic::{
    addr::{Addr, Endpoint, Port, Proto},
    checksum,
    flags::ConnFlags,
    state,
    tcp::{self, State, TcpFlags},
    timeouts::{self, TimeoutId},
};
use knet::{
    skb::{Packet, Summed},
    timed::HZ,
};

/// How long connections live after a packet, by protocol and state, in jiffies.
pub struct Timeouts {
    tcp: [AtomicU32; tcp::STATES],
    udp: AtomicU32,
    icmp: AtomicU32,
}

impl Default for Timeouts {
    fn default() -> Self {
        let defaults = timeouts::Timeouts::new(HZ);
        Self {
            tcp: State::ALL.map(|s| AtomicU32::new(defaults.tcp(s))),
            udp: AtomicU32::new(defaults.udp()),
            icmp: AtomicU32::new(defaults.jiffies(TimeoutId::Icmp)),
        }
    }
}

impl Timeouts {
    fn at(&self, id: TimeoutId) -> Option<&AtomicU32> {
        match id {
            TimeoutId::Udp => return Some(&self.udp),
            TimeoutId::Icmp => return Some(&self.icmp),
            _ => {}
        }
        let state = State::ALL
            .iter()
            .position(|s| TimeoutId::of_tcp(*s) == Some(id))?;
        self.tcp.get(state)
    }

    /// One of those that can be configured.
    pub fn get(&self, id: TimeoutId) -> u32 {
        self.at(id).map_or(0, |t| t.load(Ordering::Relaxed))
    }

    /// Changes one of those that can be configured.
    pub fn set(&self, id: TimeoutId, jiffies: u32) {
        if let Some(t) = self.at(id) {
            t.store(jiffies, Ordering::Relaxed);
        }
    }

    #[inline]
    fn tcp(&self, state: u8) -> u32 {
        let t = self.tcp.get(usize::from(state)).unwrap_or(&self.udp);
        t.load(Ordering::Relaxed)
    }

    /// That of connections made from an ICMP error, until a packet of their own comes.
    #[inline]
    pub fn icmp(&self) -> u32 {
        self.icmp.load(Ordering::Relaxed)
    }

    #[inline]
    fn udp(&self) -> u32 {
        self.udp.load(Ordering::Relaxed)
    }
}

/// What a lookup needs of a transport header, and a little more.
#[derive(Clone, Copy)]
pub struct Transport {
    /// Source port.
    pub src: Port,
    /// Destination port.
    pub dst: Port,
    /// Flags of a TCP header that is there as a whole.
    pub tcp: Option<TcpFlags>,
    /// Whether the header is there as a whole.
    pub whole: bool,
}

/// Length of a transport header without options.
#[inline]
pub const fn header_len(proto: Proto) -> u32 {
    match proto {
        Proto::TCP => 20,
        _ => 8,
    }
}

impl Transport {
    /// Of the header at `offset`; `None` if not even ports are there.
    #[inline]
    pub fn read(packet: &Packet<'_>, proto: Proto, offset: u32) -> Option<Self> {
        if proto == Proto::TCP {
            if let Some(h) = packet.read::<20>(offset) {
                let [s0, s1, d0, d1, _, _, _, _, _, _, _, _, _, flags, ..] = h;
                return Some(Self {
                    src: Port::from_be(u16::from_ne_bytes([s0, s1])),
                    dst: Port::from_be(u16::from_ne_bytes([d0, d1])),
                    tcp: Some(TcpFlags(flags)),
                    whole: true,
                });
            }
        } else if let Some([s0, s1, d0, d1, ..]) = packet.read::<8>(offset) {
            return Some(Self {
                src: Port::from_be(u16::from_ne_bytes([s0, s1])),
                dst: Port::from_be(u16::from_ne_bytes([d0, d1])),
                tcp: None,
                whole: true,
            });
        }
        Self::read_ports(packet, offset)
    }

    /// Of the first bytes of a header, as an ICMP error has them.
    #[cold]
    pub fn read_ports(packet: &Packet<'_>, offset: u32) -> Option<Self> {
        let [s0, s1, d0, d1] = packet.read::<4>(offset)?;
        Some(Self {
            src: Port::from_be(u16::from_ne_bytes([s0, s1])),
            dst: Port::from_be(u16::from_ne_bytes([d0, d1])),
            tcp: None,
            whole: false,
        })
    }
}

/// Moves the state of a connection on for a packet, and the timeout with it.
#[inline]
pub fn set_state(ns: &NsState, conn: ConnRef<'_>, dir: Direction, t: &Transport) {
    let timeout = if conn.proto == Proto::TCP {
        let Some(flags) = t.tcp else {
            return;
        };
        let old = conn.status();
        let secure = ns.defense.is_secure_tcp();
        let new = next_tcp(old, secure, dir, flags);
        let state = if new == old {
            old.state()
        } else {
            change_tcp(conn, secure, dir, flags)
        };
        ns.timeouts.tcp(state)
    } else {
        if dir == Direction::Out && !conn.control.is_empty() {
            conn.assure_control();
        }
        ns.timeouts.udp()
    };
    if conn.timeout() != timeout {
        conn.set_timeout(timeout);
    }
}

/// Flags and state after a packet.
#[inline]
fn next_tcp(old: Status, secure: bool, dir: Direction, flags: TcpFlags) -> Status {
    let mut f = old.flags();
    let no_output = f.contains(ConnFlags::NOOUTPUT);
    let dir = match dir {
        Direction::In => tcp::Direction::Input,
        Direction::Out => {
            f = f.without(ConnFlags::NOOUTPUT);
            tcp::Direction::Output
        }
    };
    let state = State::from_num(old.state().into()).unwrap_or_default();
    let new = tcp::transition(secure, dir, no_output, flags, state);
    if new != state {
        f = if new.is_active() {
            f.without(ConnFlags::INACTIVE)
        } else {
            f.with(ConnFlags::INACTIVE)
        };
    }
    Status::new(f, new as u8)
}

/// Changes the state, and tells the server: before a connection becomes active, and after it stopped
/// being that, so that never fewer are counted than there are.
#[cold]
fn change_tcp(conn: ConnRef<'_>, secure: bool, dir: Direction, flags: TcpFlags) -> u8 {
    let tell = |active| {
        if let Some(dest) = &conn.dest {
            dest.set_conn_active(active);
        }
    };
    let mut old = conn.status();
    loop {
        if old.flags().contains(ConnFlags::ENDED) {
            return old.state();
        }
        let new = next_tcp(old, secure, dir, flags);
        let was = !old.flags().contains(ConnFlags::INACTIVE);
        let is = !new.flags().contains(ConnFlags::INACTIVE);
        if is && !was {
            tell(true);
        }
        match conn.change_status(old, new) {
            Ok(()) => {
                if was && !is {
                    tell(false);
                }
                if new.state() != old.state() && new.state() == State::Established as u8 {
                    conn.assure_control();
                }
                ip_vs_debug::state_changed(conn.value(), dir, flags, old, new);
                return new.state();
            }
            Err(now) => {
                if is && !was {
                    tell(false);
                }
                old = now;
            }
        }
    }
}

/// Name of a connection's state.
pub fn state_name(proto: Proto, status: Status) -> &'static str {
    let template = status.flags().contains(ConnFlags::TEMPLATE);
    state::state_name(proto, template, status.state().into())
}

/// Which end of a packet is translated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where it comes from.
    Src,
    /// Where it goes.
    Dst,
}

/// Puts `new` in the place of `old` in the transport header at `offset`, which is writable as a
/// whole, and corrects the checksum.
#[inline]
pub fn translate<F: Family>(
    packet: &mut Packet<'_>,
    proto: Proto,
    offset: u32,
    end: End,
    old: &Endpoint,
    new: &Endpoint,
    other: &Addr,
) {
    let summed = packet.summed();
    let at = match proto {
        Proto::TCP => 16,
        _ => 6,
    };
    let mut recompute = false;
    {
        let Some(h) = packet.head_mut().get_mut(offset as usize..) else {
            return;
        };
        let port = if end == End::Src { 0 } else { 2 };
        if let Some(p) = h.get_mut(port..port + 2) {
            p.copy_from_slice(&new.port.be().to_ne_bytes());
        }
        let Some(c) = h.get_mut(at..at + 2) else {
            return;
        };
        let check = match *c {
            [a, b] => u16::from_ne_bytes([a, b]),
            _ => return,
        };
        let check = if summed == Summed::Partial {
            Some(F::partial(check, &old.addr, &new.addr))
        } else if proto == Proto::TCP {
            Some(F::update(check, old, new))
        } else {
            F::update_udp(check, old, new)
        };
        match check {
            Some(check) => {
                c.copy_from_slice(&check.to_ne_bytes());
            }
            None => {
                c.fill(0);
                recompute = true;
            }
        }
    }
    if recompute {
        fill_udp_checksum::<F>(packet, offset, &new.addr, other);
    } else if summed == Summed::Complete {
        packet.set_checksum_unknown();
    }
}

/// A UDP sender need not have filled the checksum in; after translation stock does.
#[cold]
fn fill_udp_checksum<F: Family>(packet: &mut Packet<'_>, offset: u32, a: &Addr, b: &Addr) {
    let len = packet.len().saturating_sub(offset);
    let data = checksum::Sum::from_partial(packet.partial_sum_from(offset));
    let sum = F::add_pseudo(data, a, b, Proto::UDP, len).finish_udp();
    let at = (offset as usize).saturating_add(6);
    if let Some(c) = packet.head_mut().get_mut(at..at.saturating_add(2)) {
        c.copy_from_slice(&sum.to_ne_bytes());
    }
    packet.set_checksum_right();
}
