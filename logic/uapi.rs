// SPDX-License-Identifier: GPL-2.0
//! The structures of the socket options, byte by byte, in the machine's byte order.
//!
//! C counterpart: include/uapi/linux/ip_vs.h. The layouts are those of 64-bit machines.

use crate::addr::{Addr, Af, Port};
use crate::ctl::{CtlError, DestConf, DestKey, Name, Result, ServiceConf, ServiceKey, NAME_LEN};
use crate::flags::{ConnFlags, SvcFlags, VERSION_CODE};
use crate::netlink::{so_get, so_set};
use crate::stats::Stats;
use crate::timeouts::TimeoutUser;
use core::fmt;

/// Bytes that say which service: protocol, address, port, mark. Most structures start with them.
pub const KEY_LEN: usize = 16;
/// Bytes of a service to be set (`struct ip_vs_service_user`).
pub const SERVICE_USER_LEN: usize = 44;
/// Bytes of a real server to be set (`struct ip_vs_dest_user`).
pub const DEST_USER_LEN: usize = 24;
/// Bytes of a service and one of its real servers.
pub const SVCDEST_USER_LEN: usize = SERVICE_USER_LEN + DEST_USER_LEN;
/// Bytes of the timeouts (`struct ip_vs_timeout_user`).
pub const TIMEOUT_LEN: usize = 12;
/// Bytes of a synchronisation daemon (`struct ip_vs_daemon_user`).
pub const DAEMON_LEN: usize = 24;
/// Bytes there must be for the version's text.
pub const VERSION_LEN: usize = 64;
/// Bytes of general information (`struct ip_vs_getinfo`).
pub const INFO_LEN: usize = 12;
/// Bytes of a service that is shown (`struct ip_vs_service_entry`).
pub const SERVICE_ENTRY_LEN: usize = 104;
/// Bytes of a real server that is shown (`struct ip_vs_dest_entry`).
pub const DEST_ENTRY_LEN: usize = 96;
/// Bytes before the services (`struct ip_vs_get_services`): how many there may be.
pub const GET_SERVICES_LEN: usize = 8;
/// Bytes before the real servers (`struct ip_vs_get_dests`): of which service, how many there may be.
pub const GET_DESTS_LEN: usize = 24;
/// Bytes of statistics within the entries (`struct ip_vs_stats_user`).
pub const STATS_LEN: usize = 56;
/// No option takes more bytes in than this.
pub const ARG_MAX: usize = SERVICE_ENTRY_LEN;

/// How many bytes an option to be set takes, exactly. Numbers between that mean nothing take none.
pub const fn set_len(cmd: i32) -> usize {
    match cmd {
        so_set::ADD | so_set::EDIT | so_set::DEL | so_set::ZERO => SERVICE_USER_LEN,
        so_set::ADDDEST | so_set::DELDEST | so_set::EDITDEST => SVCDEST_USER_LEN,
        so_set::TIMEOUT => TIMEOUT_LEN,
        so_set::STARTDAEMON | so_set::STOPDAEMON => DAEMON_LEN,
        _ => 0,
    }
}

/// How many bytes an option to get has at least; so many are also read.
pub const fn get_len(cmd: i32) -> usize {
    match cmd {
        so_get::VERSION => VERSION_LEN,
        so_get::INFO => INFO_LEN,
        so_get::SERVICES => GET_SERVICES_LEN,
        so_get::SERVICE => SERVICE_ENTRY_LEN,
        so_get::DESTS => GET_DESTS_LEN,
        so_get::TIMEOUT => TIMEOUT_LEN,
        so_get::DAEMON => 2 * DAEMON_LEN,
        _ => 0,
    }
}

/// The bytes at an offset; zeroes where there are none.
#[inline]
fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes
        .get(at..)
        .and_then(|b| b.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

#[inline]
fn get16(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(get(bytes, at))
}

#[inline]
fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(get(bytes, at))
}

/// Changes the bytes at an offset; what does not fit is left out.
#[inline]
fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    let to = bytes.get_mut(at..).and_then(|b| b.first_chunk_mut());
    if let Some(to) = to {
        *to = value;
    }
}

#[inline]
fn put32(bytes: &mut [u8], at: usize, value: u32) {
    put(bytes, at, value.to_ne_bytes());
}

/// Which service the first [`KEY_LEN`] bytes of a structure say. It is an IPv4 one.
pub fn service_key(bytes: &[u8]) -> ServiceKey {
    ServiceKey {
        af: Af::Inet,
        proto: get16(bytes, 0),
        addr: Addr::v4(get32(bytes, 4)),
        port: Port::from_be(get16(bytes, 8)),
        fwmark: get32(bytes, 12),
    }
}

fn put_key(bytes: &mut [u8], key: &ServiceKey) {
    put(bytes, 0, key.proto.to_ne_bytes());
    put32(bytes, 4, key.addr.v4_be());
    put(bytes, 8, key.port.be().to_ne_bytes());
    put32(bytes, 12, key.fwmark);
}

/// How a service shall behave (`struct ip_vs_service_user`): `EINVAL` if the scheduler's name has no
/// end.
pub fn service_conf(bytes: &[u8; SERVICE_USER_LEN]) -> Result<ServiceConf> {
    Ok(ServiceConf {
        sched: Name::from_field(&get::<NAME_LEN>(bytes, 16))?,
        pe: Name::EMPTY,
        flags: SvcFlags(get32(bytes, 32)),
        timeout: get32(bytes, 36),
        netmask: get32(bytes, 40),
    })
}

/// A real server (`struct ip_vs_dest_user`).
pub fn dest(bytes: &[u8; DEST_USER_LEN]) -> (DestKey, DestConf) {
    let key = DestKey {
        af: Af::Inet,
        addr: Addr::v4(get32(bytes, 0)),
        port: Port::from_be(get16(bytes, 4)),
    };
    let conf = DestConf {
        conn_flags: ConnFlags(get32(bytes, 8)),
        weight: get32(bytes, 12) as i32,
        u_threshold: get32(bytes, 16),
        l_threshold: get32(bytes, 20),
        ..DestConf::default()
    };
    (key, conf)
}

/// A service and one of its real servers.
pub fn svcdest(bytes: &[u8; SVCDEST_USER_LEN]) -> (ServiceKey, DestKey, DestConf) {
    let (key, conf) = dest(&get(bytes, SERVICE_USER_LEN));
    (service_key(bytes), key, conf)
}

/// Timeouts (`struct ip_vs_timeout_user`).
pub fn timeouts(bytes: &[u8; TIMEOUT_LEN]) -> TimeoutUser {
    TimeoutUser {
        tcp: get32(bytes, 0) as i32,
        tcp_fin: get32(bytes, 4) as i32,
        udp: get32(bytes, 8) as i32,
    }
}

/// The bytes of timeouts.
pub fn put_timeouts(user: &TimeoutUser) -> [u8; TIMEOUT_LEN] {
    let mut bytes = [0; TIMEOUT_LEN];
    for (at, value) in [(0, user.tcp), (4, user.tcp_fin), (8, user.udp)] {
        put32(&mut bytes, at, value as u32);
    }
    bytes
}

/// A synchronisation daemon (`struct ip_vs_daemon_user`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Daemon {
    /// 1 for the master, 2 for the backup, 0 for none.
    pub state: u32,
    /// Multicast interface.
    pub ifn: Name,
    /// Number of the group of directors.
    pub syncid: u32,
}

/// The state of a daemon.
pub fn daemon_state(bytes: &[u8; DAEMON_LEN]) -> u32 {
    get32(bytes, 0)
}

/// A daemon to be started: `EINVAL` if the interface has no name, or the name no end.
pub fn daemon(bytes: &[u8; DAEMON_LEN]) -> Result<Daemon> {
    let ifn = Name::from_field(&get(bytes, 4))?;
    if ifn.is_empty() {
        return Err(CtlError::Inval);
    }
    Ok(Daemon {
        state: daemon_state(bytes),
        ifn,
        syncid: get32(bytes, 20),
    })
}

/// The bytes of master and backup.
pub fn put_daemons(daemons: &[Daemon; 2]) -> [u8; 2 * DAEMON_LEN] {
    let mut bytes = [0; 2 * DAEMON_LEN];
    for (to, daemon) in bytes.chunks_exact_mut(DAEMON_LEN).zip(daemons) {
        put32(to, 0, daemon.state);
        put(to, 4, daemon.ifn.to_field());
        put32(to, 20, daemon.syncid);
    }
    bytes
}

/// The bytes of general information.
pub fn info(conn_tab_size: u32, num_services: u32) -> [u8; INFO_LEN] {
    let mut bytes = [0; INFO_LEN];
    for (at, value) in [(0, VERSION_CODE), (4, conn_tab_size), (8, num_services)] {
        put32(&mut bytes, at, value);
    }
    bytes
}

/// The version's text with its NUL, and how many bytes that are.
pub fn version(conn_tab_size: u32) -> ([u8; VERSION_LEN], usize) {
    struct Text([u8; VERSION_LEN], usize);
    impl fmt::Write for Text {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            // The last byte stays NUL.
            let room = self.0.iter_mut().take(VERSION_LEN - 1).skip(self.1);
            for (to, from) in room.zip(s.as_bytes()) {
                *to = *from;
                self.1 = self.1.wrapping_add(1);
            }
            Ok(())
        }
    }
    let mut text = Text([0; VERSION_LEN], 0);
    // It cannot fail.
    let _ = crate::procfmt::version(&mut text, conn_tab_size);
    (text.0, text.1.saturating_add(1).min(VERSION_LEN))
}

/// How many services the answer has room for (`struct ip_vs_get_services`).
pub fn services_wanted(bytes: &[u8; GET_SERVICES_LEN]) -> u32 {
    get32(bytes, 0)
}

/// How many real servers the answer has room for (`struct ip_vs_get_dests`).
pub fn dests_wanted(bytes: &[u8; GET_DESTS_LEN]) -> u32 {
    get32(bytes, 16)
}

/// Length of an answer with so many services; the caller's length must be just that.
pub const fn services_len(wanted: u32) -> u64 {
    (wanted as u64)
        .wrapping_mul(SERVICE_ENTRY_LEN as u64)
        .wrapping_add(GET_SERVICES_LEN as u64)
}

/// Length of an answer with so many real servers; the caller's length must be just that.
pub const fn dests_len(wanted: u32) -> u64 {
    (wanted as u64)
        .wrapping_mul(DEST_ENTRY_LEN as u64)
        .wrapping_add(GET_DESTS_LEN as u64)
}

fn put_stats(bytes: &mut [u8], at: usize, stats: &Stats) {
    let (c, r) = (&stats.counters, &stats.rates);
    let to = bytes.get_mut(at..).unwrap_or_default();
    for (at, value) in [
        (0, c.conns),
        (4, c.inpkts),
        (8, c.outpkts),
        (32, r.cps),
        (36, r.inpps),
        (40, r.outpps),
        (44, r.inbps),
        (48, r.outbps),
    ] {
        put32(to, at, value as u32);
    }
    put(to, 16, c.inbytes.to_ne_bytes());
    put(to, 24, c.outbytes.to_ne_bytes());
}

/// A service that is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceEntry {
    /// Which one.
    pub key: ServiceKey,
    /// Name of its scheduler.
    pub sched: Name,
    /// Flags.
    pub flags: SvcFlags,
    /// How long clients stay with their server, in seconds.
    pub timeout: u32,
    /// Which clients are one.
    pub netmask: u32,
    /// Number of its real servers.
    pub num_dests: u32,
    /// Statistics.
    pub stats: Stats,
}

impl ServiceEntry {
    /// Fills in the fields; bytes between them stay as they are.
    pub fn emit(&self, bytes: &mut [u8; SERVICE_ENTRY_LEN]) {
        put_key(bytes, &self.key);
        put(bytes, 16, self.sched.to_field());
        for (at, value) in [
            (32, self.flags.bits()),
            (36, self.timeout),
            (40, self.netmask),
            (44, self.num_dests),
        ] {
            put32(bytes, at, value);
        }
        put_stats(bytes, 48, &self.stats);
    }
}

/// A real server that is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DestEntry {
    /// Which one.
    pub key: DestKey,
    /// All flags its connections get.
    pub flags: ConnFlags,
    /// Weight.
    pub weight: i32,
    /// So many connections overload it.
    pub u_threshold: u32,
    /// Below so many it is not overloaded any more, as given.
    pub l_threshold: u32,
    /// Active connections.
    pub active: u32,
    /// Inactive connections.
    pub inactive: u32,
    /// Templates.
    pub persistent: u32,
    /// Statistics.
    pub stats: Stats,
}

impl DestEntry {
    /// The bytes.
    pub fn emit(&self) -> [u8; DEST_ENTRY_LEN] {
        let mut bytes = [0; DEST_ENTRY_LEN];
        put32(&mut bytes, 0, self.key.addr.v4_be());
        put(&mut bytes, 4, self.key.port.be().to_ne_bytes());
        for (at, value) in [
            (8, self.flags.bits()),
            (12, self.weight as u32),
            (16, self.u_threshold),
            (20, self.l_threshold),
            (24, self.active),
            (28, self.inactive),
            (32, self.persistent),
        ] {
            put32(&mut bytes, at, value);
        }
        put_stats(&mut bytes, 40, &self.stats);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Counters, Rates};
    use proptest::prelude::*;

    /// Native-endian bytes of what a C program would store.
    fn bytes(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    const STATS: Stats = Stats {
        counters: Counters {
            conns: 0x1_0000_0001,
            inpkts: 2,
            outpkts: 3,
            inbytes: 0x4_0000_0004,
            outbytes: 5,
        },
        rates: Rates {
            cps: 6,
            inpps: 7,
            outpps: 8,
            inbps: 9,
            outbps: 10,
        },
    };

    fn stats_bytes() -> Vec<u8> {
        let mut want = Vec::new();
        for n in [1u32, 2, 3, 0] {
            want.extend(n.to_ne_bytes());
        }
        for n in [0x4_0000_0004u64, 5] {
            want.extend(n.to_ne_bytes());
        }
        for n in [6u32, 7, 8, 9, 10, 0] {
            want.extend(n.to_ne_bytes());
        }
        assert_eq!(want.len(), STATS_LEN);
        want
    }

    #[test]
    fn lengths() {
        let set: Vec<_> = (so_set::BASE..=so_set::MAX).map(set_len).collect();
        assert_eq!(
            set,
            [0, 0, 44, 44, 44, 0, 0, 68, 68, 68, 12, 24, 24, 0, 0, 44]
        );
        let get: Vec<_> = (so_get::BASE..=so_get::MAX).map(get_len).collect();
        assert_eq!(get, [64, 12, 8, 104, 24, 0, 12, 48]);
        assert!(get.iter().chain(&set).all(|n| *n <= ARG_MAX));
        assert_eq!((services_len(0), dests_len(0)), (8, 24));
        assert_eq!((services_len(3), dests_len(3)), (320, 312));
        // No 32 bits are enough to wrap around.
        assert_eq!(services_len(u32::MAX), 446_676_598_688);
        assert_eq!(dests_len(u32::MAX), 412_316_860_344);
    }

    #[test]
    fn a_service() {
        let user = bytes(&[
            &6u16.to_ne_bytes(),
            &[0xee; 2],
            &[10, 0, 0, 1],
            &80u16.to_be_bytes(),
            &[0xee; 2],
            &7u32.to_ne_bytes(),
            b"wlc\0garbage.....",
            &0x8000_0001u32.to_ne_bytes(),
            &360u32.to_ne_bytes(),
            &[255, 255, 255, 0],
        ]);
        let user: [u8; SERVICE_USER_LEN] = user.try_into().unwrap();
        let key = service_key(&user);
        assert_eq!((key.af, key.proto, key.fwmark), (Af::Inet, 6, 7));
        assert_eq!((key.addr.v4_host(), key.port.host()), (0x0a00_0001, 80));
        let conf = service_conf(&user).unwrap();
        assert_eq!(conf.sched.as_bytes(), b"wlc");
        assert!(conf.pe.is_empty());
        assert_eq!((conf.flags, conf.timeout), (SvcFlags(0x8000_0001), 360));
        assert_eq!(conf.netmask.to_ne_bytes(), [255, 255, 255, 0]);
        let mut endless = user;
        endless[16..32].fill(b'x');
        assert_eq!(service_conf(&endless), Err(CtlError::Inval));
    }

    #[test]
    fn a_real_server() {
        let user = bytes(&[
            &[10, 0, 1, 2],
            &8080u16.to_be_bytes(),
            &[0xee; 2],
            &3u32.to_ne_bytes(),
            &(-4i32).to_ne_bytes(),
            &5u32.to_ne_bytes(),
            &6u32.to_ne_bytes(),
        ]);
        let (key, conf) = dest(&user.clone().try_into().unwrap());
        assert_eq!((key.af, key.port.host()), (Af::Inet, 8080));
        assert_eq!(key.addr.v4_host(), 0x0a00_0102);
        assert_eq!((conf.conn_flags.bits(), conf.weight), (3, -4));
        assert_eq!((conf.u_threshold, conf.l_threshold), (5, 6));
        assert_eq!((conf.tun_type, conf.tun_flags), (0, 0));
        let both = bytes(&[&[1; SERVICE_USER_LEN], &user]);
        let (svc, again, _) = svcdest(&both.try_into().unwrap());
        assert_eq!((svc.fwmark, again), (0x0101_0101, key));
    }

    #[test]
    fn the_rest_to_be_set() {
        let user = TimeoutUser {
            tcp: 1,
            tcp_fin: -2,
            udp: i32::MAX,
        };
        assert_eq!(timeouts(&put_timeouts(&user)), user);
        let raw = bytes(&[
            &2u32.to_ne_bytes(),
            b"eth0\0...........",
            &9u32.to_ne_bytes(),
        ]);
        let raw: [u8; DAEMON_LEN] = raw.try_into().unwrap();
        let d = daemon(&raw).unwrap();
        assert_eq!((d.state, d.ifn.as_bytes(), d.syncid), (2, &b"eth0"[..], 9));
        assert_eq!(daemon_state(&raw), 2);
        for start in [0, b'x'] {
            let mut bad = raw;
            bad[4..20].fill(start);
            assert_eq!(daemon(&bad), Err(CtlError::Inval));
        }
        let both = put_daemons(&[Daemon::default(), d]);
        assert_eq!(both[..DAEMON_LEN], [0; DAEMON_LEN]);
        let second: [u8; DAEMON_LEN] = both[DAEMON_LEN..].try_into().unwrap();
        assert_eq!(daemon(&second), Ok(d));
    }

    #[test]
    fn general_information() {
        let want = [0x010201u32, 4096, 3].map(u32::to_ne_bytes).concat();
        assert_eq!(info(4096, 3).as_slice(), want);
        let (text, len) = version(4096);
        let want = b"IP Virtual Server version 1.2.1 (size=4096)\0";
        assert_eq!((&text[..len], len), (&want[..], 44));
        assert!(text[len..].iter().all(|b| *b == 0));
    }

    #[test]
    fn entries() {
        let key = service_key(&[1; KEY_LEN]);
        let service = ServiceEntry {
            key: ServiceKey { fwmark: 0, ..key },
            sched: Name::new(b"rr", 15).unwrap(),
            flags: SvcFlags(2),
            timeout: 3,
            netmask: 4,
            num_dests: 5,
            stats: STATS,
        };
        let head = |fill: u8| {
            bytes(&[
                &[1, 1, fill, fill, 1, 1, 1, 1, 1, 1, fill, fill, 0, 0, 0, 0],
                b"rr\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
                &[2u32, 3, 4, 5].map(u32::to_ne_bytes).concat(),
            ])
        };
        let mut out = [0; SERVICE_ENTRY_LEN];
        service.emit(&mut out);
        assert_eq!(out.to_vec(), bytes(&[&head(0), &stats_bytes()]));
        // What is between the fields is the caller's.
        let mut out = [0xaa; SERVICE_ENTRY_LEN];
        service.emit(&mut out);
        assert_eq!(out[..48].to_vec(), head(0xaa));
        assert_eq!(
            (&out[60..64], &out[100..]),
            (&[0xaa; 4][..], &[0xaa; 4][..])
        );

        let dest = DestEntry {
            key: dest(&[2; DEST_USER_LEN]).0,
            flags: ConnFlags(0x100),
            weight: -1,
            u_threshold: 1,
            l_threshold: 2,
            active: 3,
            inactive: 4,
            persistent: 5,
            stats: STATS,
        };
        let want = bytes(&[
            &[2, 2, 2, 2, 2, 2, 0, 0],
            &[0x100, u32::MAX, 1, 2, 3, 4, 5, 0]
                .map(u32::to_ne_bytes)
                .concat(),
            &stats_bytes(),
        ]);
        assert_eq!(dest.emit().to_vec(), want);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(raw in prop::collection::vec(any::<u8>(), ARG_MAX)) {
            let user: [u8; SERVICE_USER_LEN] = get(&raw, 0);
            let key = service_key(&user);
            if let Ok(conf) = service_conf(&user) {
                prop_assert!(user[16..].starts_with(conf.sched.as_bytes()));
                // Shown and read again it is the same.
                let entry = ServiceEntry {
                    key, sched: conf.sched, flags: conf.flags, timeout: conf.timeout,
                    netmask: conf.netmask, num_dests: 1, stats: Stats::default(),
                };
                let mut out: [u8; SERVICE_ENTRY_LEN] = get(&raw, 0);
                entry.emit(&mut out);
                prop_assert_eq!(service_key(&out), key);
                prop_assert_eq!(service_conf(&get(&out, 0)), Ok(conf));
            }
            let (dkey, dconf) = dest(&get(&raw, 0));
            let entry = DestEntry {
                key: dkey, flags: dconf.conn_flags, weight: dconf.weight,
                u_threshold: dconf.u_threshold, l_threshold: dconf.l_threshold,
                active: 1, inactive: 2, persistent: 3, stats: STATS,
            };
            prop_assert_eq!(dest(&get(&entry.emit(), 0)), (dkey, dconf));
            let t = timeouts(&get(&raw, 0));
            prop_assert_eq!(put_timeouts(&t), get::<TIMEOUT_LEN>(&raw, 0));
            if let Ok(d) = daemon(&get(&raw, 0)) {
                let again = put_daemons(&[d, d]);
                prop_assert_eq!(daemon(&get(&again, 0)), Ok(d));
                prop_assert_eq!(daemon(&get(&again, DAEMON_LEN)), Ok(d));
            }
        }

        #[test]
        fn the_version_always_fits(size: u32) {
            let (text, len) = version(size);
            prop_assert!(len < VERSION_LEN && text[len - 1] == 0 && !text[..len - 1].contains(&0));
            prop_assert_eq!(&info(size, 0)[4..8], &size.to_ne_bytes());
        }
    }
}
