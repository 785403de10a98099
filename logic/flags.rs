// SPDX-License-Identifier: GPL-2.0
//! Flag words and small enumerations of the user API.
//!
//! C counterpart: include/uapi/linux/ip_vs.h.

/// Version reported to user space, 1.2.1 (`IP_VS_VERSION_CODE`).
pub const VERSION_CODE: u32 = 0x01_02_01;

macro_rules! flag_word {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $flag:ident = $bits:expr;)* }) => {
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
        pub struct $name(pub u32);

        impl $name {
            /// No flag.
            pub const NONE: $name = $name(0);
            $($(#[$fdoc])* pub const $flag: $name = $name($bits);)*

            /// The raw bits.
            #[inline]
            pub const fn bits(self) -> u32 {
                self.0
            }

            /// Whether all flags of `other` are set.
            #[inline]
            pub const fn contains(self, other: $name) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether any flag of `other` is set.
            #[inline]
            pub const fn intersects(self, other: $name) -> bool {
                self.0 & other.0 != 0
            }

            /// The flags with those of `other` set.
            #[inline]
            pub const fn with(self, other: $name) -> $name {
                $name(self.0 | other.0)
            }

            /// The flags with those of `other` cleared.
            #[inline]
            pub const fn without(self, other: $name) -> $name {
                $name(self.0 & !other.0)
            }
        }

        impl core::ops::BitOr for $name {
            type Output = $name;
            #[inline]
            fn bitor(self, other: $name) -> $name {
                $name(self.0 | other.0)
            }
        }

        impl core::ops::BitAnd for $name {
            type Output = $name;
            #[inline]
            fn bitand(self, other: $name) -> $name {
                $name(self.0 & other.0)
            }
        }

        impl core::ops::Not for $name {
            type Output = $name;
            #[inline]
            fn not(self) -> $name {
                $name(!self.0)
            }
        }

        impl core::ops::BitOrAssign for $name {
            #[inline]
            fn bitor_assign(&mut self, other: $name) {
                self.0 |= other.0;
            }
        }

        impl core::ops::BitAndAssign for $name {
            #[inline]
            fn bitand_assign(&mut self, other: $name) {
                self.0 &= other.0;
            }
        }
    };
}

flag_word! {
    /// Flags of a connection, and of a destination as the template of its connections
    /// (`IP_VS_CONN_F_*`). Bits 0 to 15 are sent to the backup director.
    ConnFlags {
        /// The bits that hold the forwarding method, see [`FwdMethod`].
        FWD_MASK = 0x0007;
        /// Created by a synchronisation message.
        SYNC = 0x0020;
        /// In the connection table.
        HASHED = 0x0040;
        /// Replies do not pass the director.
        NOOUTPUT = 0x0080;
        /// Does not count as active.
        INACTIVE = 0x0100;
        /// Sequence numbers of replies need adjusting.
        OUT_SEQ = 0x0200;
        /// Sequence numbers of requests need adjusting.
        IN_SEQ = 0x0400;
        /// Both of the above.
        SEQ_MASK = 0x0600;
        /// The client's port is not known yet.
        NO_CPORT = 0x0800;
        /// A persistence template, not a connection.
        TEMPLATE = 0x1000;
        /// Forwards one packet and dies.
        ONE_PACKET = 0x2000;
        /// Netfilter's connection tracking follows the connection.
        NFCT = 0x1_0000;
        /// A template whose server does not take its clients any more. Not one of stock's, which
        /// gives such a template the port 65535.
        INVALID = 0x80_0000;
        /// Out of the table, and out of its server's counters. Not one of stock's.
        ENDED = 0x40_0000;
        /// What a backup director takes over from a message for a new connection.
        BACKUP_MASK = 0x0007 | 0x0080 | 0x0100 | 0x0600 | 0x0800 | 0x1000;
        /// What a backup director takes over for a connection it knows.
        BACKUP_UPD_MASK = 0x0100 | 0x0600;
        /// What user space may set on a destination.
        DEST_MASK = 0x0007 | 0x2000 | 0x1_0000;
    }
}

flag_word! {
    /// Flags of a virtual service (`IP_VS_SVC_F_*`).
    SvcFlags {
        /// Clients stay with their server.
        PERSISTENT = 0x0001;
        /// In the service table. Reported to user space and never taken from it.
        HASHED = 0x0002;
        /// One-packet scheduling of UDP.
        ONEPACKET = 0x0004;
        /// First flag with a meaning to the scheduler.
        SCHED1 = 0x0008;
        /// Second flag with a meaning to the scheduler.
        SCHED2 = 0x0010;
        /// Third flag with a meaning to the scheduler.
        SCHED3 = 0x0020;
        /// sh: fall back to another server if the chosen one is down.
        SCHED_SH_FALLBACK = 0x0008;
        /// sh: the source port is part of the hash.
        SCHED_SH_PORT = 0x0010;
        /// mh: fall back to another server if the chosen one is down.
        SCHED_MH_FALLBACK = 0x0008;
        /// mh: the source port is part of the hash.
        SCHED_MH_PORT = 0x0010;
    }
}

/// How packets reach the real server: the low three bits of [`ConnFlags`].
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FwdMethod {
    /// Network address translation.
    Masq = 0,
    /// The director itself is the server.
    Local = 1,
    /// Encapsulation.
    Tunnel = 2,
    /// Direct routing.
    DRoute = 3,
    /// Past the virtual service to the original address.
    Bypass = 4,
}

impl FwdMethod {
    /// The method in the low bits of `flags`; the values 5, 6 and 7 mean nothing, yet user space can
    /// store them in a destination.
    #[inline]
    pub const fn from_bits(flags: u32) -> Option<FwdMethod> {
        match flags & ConnFlags::FWD_MASK.0 {
            0 => Some(FwdMethod::Masq),
            1 => Some(FwdMethod::Local),
            2 => Some(FwdMethod::Tunnel),
            3 => Some(FwdMethod::DRoute),
            4 => Some(FwdMethod::Bypass),
            _ => None,
        }
    }

    /// The bits of the method.
    #[inline]
    pub const fn bits(self) -> u32 {
        self as u32
    }

    /// The name in `/proc/net/ip_vs`, which calls everything else `Masq`.
    #[inline]
    pub const fn proc_name(self) -> &'static str {
        match self {
            FwdMethod::Local => "Local",
            FwdMethod::Tunnel => "Tunnel",
            FwdMethod::DRoute => "Route",
            FwdMethod::Masq | FwdMethod::Bypass => "Masq",
        }
    }

    /// The letter used in log messages.
    #[inline]
    pub const fn tag(self) -> char {
        match self {
            FwdMethod::Masq => 'M',
            FwdMethod::Local => 'L',
            FwdMethod::Tunnel => 'T',
            FwdMethod::DRoute => 'R',
            FwdMethod::Bypass => 'B',
        }
    }
}

impl ConnFlags {
    /// The forwarding method, see [`FwdMethod::from_bits`].
    #[inline]
    pub const fn fwd(self) -> Option<FwdMethod> {
        FwdMethod::from_bits(self.0)
    }

    /// The flags with another forwarding method.
    #[inline]
    pub const fn with_fwd(self, fwd: FwdMethod) -> ConnFlags {
        ConnFlags(self.0 & !ConnFlags::FWD_MASK.0 | fwd.bits())
    }

    /// Whether the method is masquerading.
    #[inline]
    pub const fn is_masq(self) -> bool {
        self.0 & ConnFlags::FWD_MASK.0 == 0
    }

    /// [`FwdMethod::proc_name`], `Masq` for values without a meaning.
    #[inline]
    pub const fn fwd_proc_name(self) -> &'static str {
        match self.fwd() {
            Some(f) => f.proc_name(),
            None => "Masq",
        }
    }

    /// [`FwdMethod::tag`], `?` for values without a meaning.
    #[inline]
    pub const fn fwd_tag(self) -> char {
        match self.fwd() {
            Some(f) => f.tag(),
            None => '?',
        }
    }

    /// `SYNC` or `LOCAL`, as in `/proc/net/ip_vs_conn_sync`.
    #[inline]
    pub const fn origin_name(self) -> &'static str {
        if self.intersects(ConnFlags::SYNC) {
            "SYNC"
        } else {
            "LOCAL"
        }
    }
}

/// Flag word of a destination's run-time state: too many connections (`IP_VS_DEST_F_OVERLOAD`).
pub const DEST_F_OVERLOAD: u32 = 0x0002;
/// Flag word of a destination's configuration: it belongs to a service (`IP_VS_DEST_CF_AVAILABLE`).
pub const DEST_CF_AVAILABLE: u32 = 0x0001;

/// Tunnel types (`IP_VS_CONN_F_TUNNEL_TYPE_*`).
pub mod tun_type {
    /// IP in IP.
    pub const IPIP: u16 = 0;
    /// Generic UDP encapsulation; needs a port.
    pub const GUE: u16 = 1;
    /// GRE.
    pub const GRE: u16 = 2;
}

/// Tunnel flags (`IP_VS_TUNNEL_ENCAP_FLAG_*`).
pub mod tun_flags {
    /// No checksum.
    pub const NOCSUM: u16 = 0;
    /// With a checksum.
    pub const CSUM: u16 = 1;
    /// With remote checksum offload.
    pub const REMCSUM: u16 = 2;
}

/// States of the synchronisation daemons (`IP_VS_STATE_*`), a set of bits.
pub mod sync_state {
    /// No daemon runs.
    pub const NONE: u32 = 0;
    /// The master daemon sends.
    pub const MASTER: u32 = 1;
    /// The backup daemon receives.
    pub const BACKUP: u32 = 2;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods() {
        let all = [
            (FwdMethod::Masq, 0, "Masq", 'M'),
            (FwdMethod::Local, 1, "Local", 'L'),
            (FwdMethod::Tunnel, 2, "Tunnel", 'T'),
            (FwdMethod::DRoute, 3, "Route", 'R'),
            (FwdMethod::Bypass, 4, "Masq", 'B'),
        ];
        for (m, bits, name, tag) in all {
            assert_eq!((m.bits(), m.proc_name(), m.tag()), (bits, name, tag));
            // Other bits do not matter.
            let flags = ConnFlags(0xffff_fff8).with_fwd(m);
            assert_eq!((flags.fwd(), flags.bits() & 7), (Some(m), bits));
            assert_eq!((flags.fwd_proc_name(), flags.fwd_tag()), (name, tag));
            assert_eq!(flags.is_masq(), m == FwdMethod::Masq);
        }
        for bits in 5..8 {
            let flags = ConnFlags(bits);
            assert_eq!(flags.fwd(), None);
            assert_eq!((flags.fwd_proc_name(), flags.fwd_tag()), ("Masq", '?'));
        }
    }

    #[test]
    fn words() {
        let f = ConnFlags::SYNC | ConnFlags::HASHED;
        assert!(f.contains(ConnFlags::SYNC) && !f.contains(f | ConnFlags::INACTIVE));
        assert!(f.intersects(ConnFlags::SYNC | ConnFlags::INACTIVE));
        assert!(!f.intersects(ConnFlags::NONE) && f.contains(ConnFlags::NONE));
        assert_eq!(f.without(ConnFlags::SYNC), ConnFlags::HASHED);
        assert_eq!(f.with(ConnFlags::NFCT).bits(), 0x1_0060);
        assert_eq!(f & !ConnFlags::SYNC, ConnFlags::HASHED);
        let mut g = f;
        g |= ConnFlags::TEMPLATE;
        g &= !ConnFlags::HASHED;
        assert_eq!(g, ConnFlags(0x1020));
        assert_eq!(
            (f.origin_name(), ConnFlags::HASHED.origin_name()),
            ("SYNC", "LOCAL")
        );
        assert_eq!(ConnFlags::BACKUP_MASK.bits(), 0x1f87);
        assert_eq!(ConnFlags::DEST_MASK.bits(), 0x1_2007);
        assert_eq!(ConnFlags::BACKUP_UPD_MASK.bits(), 0x0700);
        assert_eq!(VERSION_CODE, 0x010201);
    }
}
