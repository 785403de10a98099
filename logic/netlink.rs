// SPDX-License-Identifier: GPL-2.0
//! Numbers of the generic netlink family and of the socket options.
//!
//! C counterpart: include/uapi/linux/ip_vs.h.

/// Name of the generic netlink family.
pub const GENL_NAME: &str = "IPVS";
/// Version of the generic netlink family.
pub const GENL_VERSION: u8 = 1;

/// Commands (`IPVS_CMD_*`).
pub mod cmd {
    /// Adds a service; also the answer to [`GET_SERVICE`].
    pub const NEW_SERVICE: u8 = 1;
    /// Changes a service.
    pub const SET_SERVICE: u8 = 2;
    /// Deletes a service.
    pub const DEL_SERVICE: u8 = 3;
    /// Shows one service or all.
    pub const GET_SERVICE: u8 = 4;
    /// Adds a destination; also the answer to [`GET_DEST`].
    pub const NEW_DEST: u8 = 5;
    /// Changes a destination.
    pub const SET_DEST: u8 = 6;
    /// Deletes a destination.
    pub const DEL_DEST: u8 = 7;
    /// Shows the destinations of a service.
    pub const GET_DEST: u8 = 8;
    /// Starts a synchronisation daemon; also the answer to [`GET_DAEMON`].
    pub const NEW_DAEMON: u8 = 9;
    /// Stops a synchronisation daemon.
    pub const DEL_DAEMON: u8 = 10;
    /// Shows the synchronisation daemons.
    pub const GET_DAEMON: u8 = 11;
    /// Sets timeouts; also the answer to [`GET_CONFIG`].
    pub const SET_CONFIG: u8 = 12;
    /// Shows timeouts.
    pub const GET_CONFIG: u8 = 13;
    /// Only as the answer to [`GET_INFO`].
    pub const SET_INFO: u8 = 14;
    /// Shows version and table size.
    pub const GET_INFO: u8 = 15;
    /// Zeroes the statistics of one service or of all.
    pub const ZERO: u8 = 16;
    /// Deletes all services.
    pub const FLUSH: u8 = 17;
}

/// Attributes of a message (`IPVS_CMD_ATTR_*`).
pub mod cmd_attr {
    /// A service, nested [`svc_attr`](super::svc_attr).
    pub const SERVICE: u16 = 1;
    /// A destination, nested [`dest_attr`](super::dest_attr).
    pub const DEST: u16 = 2;
    /// A daemon, nested [`daemon_attr`](super::daemon_attr).
    pub const DAEMON: u16 = 3;
    /// Seconds, 32 bits.
    pub const TIMEOUT_TCP: u16 = 4;
    /// Seconds, 32 bits.
    pub const TIMEOUT_TCP_FIN: u16 = 5;
    /// Seconds, 32 bits.
    pub const TIMEOUT_UDP: u16 = 6;
    /// The greatest one.
    pub const MAX: u16 = 6;
}

/// Attributes of a service (`IPVS_SVC_ATTR_*`).
pub mod svc_attr {
    /// Address family, 16 bits.
    pub const AF: u16 = 1;
    /// Protocol, 16 bits.
    pub const PROTOCOL: u16 = 2;
    /// Address, up to 16 bytes.
    pub const ADDR: u16 = 3;
    /// Port, 16 bits in network order.
    pub const PORT: u16 = 4;
    /// Firewall mark, 32 bits.
    pub const FWMARK: u16 = 5;
    /// Name of the scheduler, with NUL.
    pub const SCHED_NAME: u16 = 6;
    /// Flags and a mask, 32 bits each.
    pub const FLAGS: u16 = 7;
    /// Persistence in seconds, 32 bits.
    pub const TIMEOUT: u16 = 8;
    /// Netmask in network order, or prefix length, 32 bits.
    pub const NETMASK: u16 = 9;
    /// Statistics, nested [`stats_attr`](super::stats_attr), counts and rates in 32 bits.
    pub const STATS: u16 = 10;
    /// Name of the persistence engine, with NUL.
    pub const PE_NAME: u16 = 11;
    /// Statistics, nested [`stats_attr`](super::stats_attr), all in 64 bits.
    pub const STATS64: u16 = 12;
    /// The greatest one.
    pub const MAX: u16 = 12;
}

/// Attributes of a destination (`IPVS_DEST_ATTR_*`).
pub mod dest_attr {
    /// Address, up to 16 bytes.
    pub const ADDR: u16 = 1;
    /// Port, 16 bits in network order.
    pub const PORT: u16 = 2;
    /// Forwarding method, 32 bits.
    pub const FWD_METHOD: u16 = 3;
    /// Weight, 32 bits.
    pub const WEIGHT: u16 = 4;
    /// Upper threshold, 32 bits.
    pub const U_THRESH: u16 = 5;
    /// Lower threshold, 32 bits.
    pub const L_THRESH: u16 = 6;
    /// Active connections, 32 bits.
    pub const ACTIVE_CONNS: u16 = 7;
    /// Inactive connections, 32 bits.
    pub const INACT_CONNS: u16 = 8;
    /// Persistence templates, 32 bits.
    pub const PERSIST_CONNS: u16 = 9;
    /// As of a service.
    pub const STATS: u16 = 10;
    /// Address family, 16 bits; without it the service's.
    pub const ADDR_FAMILY: u16 = 11;
    /// As of a service.
    pub const STATS64: u16 = 12;
    /// Tunnel type, 8 bits.
    pub const TUN_TYPE: u16 = 13;
    /// Tunnel port, 16 bits in network order.
    pub const TUN_PORT: u16 = 14;
    /// Tunnel flags, 16 bits.
    pub const TUN_FLAGS: u16 = 15;
    /// The greatest one.
    pub const MAX: u16 = 15;
}

/// Attributes of a synchronisation daemon (`IPVS_DAEMON_ATTR_*`).
pub mod daemon_attr {
    /// Master or backup, 32 bits.
    pub const STATE: u16 = 1;
    /// Name of the interface, with NUL.
    pub const MCAST_IFN: u16 = 2;
    /// Identity of the group of directors, 32 bits.
    pub const SYNC_ID: u16 = 3;
    /// Greatest payload in bytes, 16 bits.
    pub const SYNC_MAXLEN: u16 = 4;
    /// IPv4 multicast address, 4 bytes.
    pub const MCAST_GROUP: u16 = 5;
    /// IPv6 multicast address, 16 bytes.
    pub const MCAST_GROUP6: u16 = 6;
    /// First port, 16 bits in host order.
    pub const MCAST_PORT: u16 = 7;
    /// TTL, 8 bits.
    pub const MCAST_TTL: u16 = 8;
    /// The greatest one.
    pub const MAX: u16 = 8;
}

/// Attributes of statistics (`IPVS_STATS_ATTR_*`).
pub mod stats_attr {
    /// Connections.
    pub const CONNS: u16 = 1;
    /// Packets from clients.
    pub const INPKTS: u16 = 2;
    /// Packets to clients.
    pub const OUTPKTS: u16 = 3;
    /// Bytes from clients, 64 bits.
    pub const INBYTES: u16 = 4;
    /// Bytes to clients, 64 bits.
    pub const OUTBYTES: u16 = 5;
    /// Connections a second.
    pub const CPS: u16 = 6;
    /// Packets from clients a second.
    pub const INPPS: u16 = 7;
    /// Packets to clients a second.
    pub const OUTPPS: u16 = 8;
    /// Bytes from clients a second.
    pub const INBPS: u16 = 9;
    /// Bytes to clients a second.
    pub const OUTBPS: u16 = 10;
    /// Filling that aligns 64 bits.
    pub const PAD: u16 = 11;
    /// The greatest one.
    pub const MAX: u16 = 11;
}

/// Attributes of general information (`IPVS_INFO_ATTR_*`).
pub mod info_attr {
    /// Version, 32 bits.
    pub const VERSION: u16 = 1;
    /// Size of the connection table, 32 bits.
    pub const CONN_TAB_SIZE: u16 = 2;
    /// The greatest one.
    pub const MAX: u16 = 2;
}

/// Socket options to set (`IP_VS_SO_SET_*`).
pub mod so_set {
    /// The first number.
    pub const BASE: i32 = 64 + 1024 + 64;
    /// Adds a service.
    pub const ADD: i32 = BASE + 2;
    /// Changes a service.
    pub const EDIT: i32 = BASE + 3;
    /// Deletes a service.
    pub const DEL: i32 = BASE + 4;
    /// Deletes all services.
    pub const FLUSH: i32 = BASE + 5;
    /// Adds a destination.
    pub const ADDDEST: i32 = BASE + 7;
    /// Deletes a destination.
    pub const DELDEST: i32 = BASE + 8;
    /// Changes a destination.
    pub const EDITDEST: i32 = BASE + 9;
    /// Sets timeouts.
    pub const TIMEOUT: i32 = BASE + 10;
    /// Starts a synchronisation daemon.
    pub const STARTDAEMON: i32 = BASE + 11;
    /// Stops a synchronisation daemon.
    pub const STOPDAEMON: i32 = BASE + 12;
    /// Zeroes statistics.
    pub const ZERO: i32 = BASE + 15;
    /// The last number.
    pub const MAX: i32 = BASE + 15;
}

/// Socket options to get (`IP_VS_SO_GET_*`).
pub mod so_get {
    /// The first number.
    pub const BASE: i32 = 64 + 1024 + 64;
    /// The version as text.
    pub const VERSION: i32 = BASE;
    /// Version, table size, number of IPv4 services.
    pub const INFO: i32 = BASE + 1;
    /// All IPv4 services.
    pub const SERVICES: i32 = BASE + 2;
    /// One service.
    pub const SERVICE: i32 = BASE + 3;
    /// The destinations of a service.
    pub const DESTS: i32 = BASE + 4;
    /// The timeouts.
    pub const TIMEOUT: i32 = BASE + 6;
    /// The synchronisation daemons.
    pub const DAEMON: i32 = BASE + 7;
    /// The last number.
    pub const MAX: i32 = BASE + 7;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_use() {
        // The ones any trace of ipvsadm shows.
        assert_eq!(
            (
                cmd::NEW_SERVICE,
                cmd::GET_SERVICE,
                cmd::GET_DEST,
                cmd::FLUSH
            ),
            (1, 4, 8, 17)
        );
        assert_eq!(
            (cmd::GET_DAEMON, cmd::GET_CONFIG, cmd::GET_INFO),
            (11, 13, 15)
        );
        assert_eq!(
            (svc_attr::STATS64, dest_attr::STATS64, dest_attr::TUN_FLAGS),
            (12, 12, 15)
        );
        assert_eq!((so_set::ADD, so_set::MAX), (1154, 1167));
        assert_eq!(
            (so_get::VERSION, so_get::INFO, so_get::DAEMON),
            (1152, 1153, 1159)
        );
    }
}
