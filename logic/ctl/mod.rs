// SPDX-License-Identifier: GPL-2.0
//! Values of the configuration and the rules they must keep.
//!
//! The same for netlink and for the socket options. C counterparts: `struct
//! ip_vs_service_user_kern`, `struct ip_vs_dest_user_kern` and their checks in
//! net/netfilter/ipvs/ip_vs_ctl.c.

mod dest;
mod name;
mod service;

pub use dest::{validate_dest, validate_family, DestConf, DestKey};
pub use name::{Name, IFNAME_MAX, NAME_LEN, PE_NAME_MAX, SCHED_NAME_MAX};
pub use service::{merge_flags, ServiceConf, ServiceKey};

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CtlError {
    /// `EPERM`: the caller may not.
    Perm,
    /// `ENOENT`: no such destination, scheduler or persistence engine.
    NoEnt,
    /// `ESRCH`: no such service, no such daemon.
    Srch,
    /// `ENOMEM`.
    NoMem,
    /// `EFAULT`: a bad pointer; of the socket options also a bad protocol.
    Fault,
    /// `EBUSY`.
    Busy,
    /// `EEXIST`: the service or destination is there already.
    Exist,
    /// `ENODEV`: no such interface.
    NoDev,
    /// `EINVAL`.
    Inval,
    /// `ERANGE`: a negative weight, thresholds in the wrong order.
    Range,
    /// `EMSGSIZE`: no room in a message.
    MsgSize,
    /// `ENOPROTOOPT`: the module is going.
    NoProtoOpt,
    /// `EOPNOTSUPP`.
    NotSupp,
    /// `EAFNOSUPPORT`: an address family that is unknown or switched off.
    AfNoSupport,
}

impl CtlError {
    /// The positive error number.
    #[inline]
    pub const fn errno(self) -> i32 {
        match self {
            CtlError::Perm => 1,
            CtlError::NoEnt => 2,
            CtlError::Srch => 3,
            CtlError::NoMem => 12,
            CtlError::Fault => 14,
            CtlError::Busy => 16,
            CtlError::Exist => 17,
            CtlError::NoDev => 19,
            CtlError::Inval => 22,
            CtlError::Range => 34,
            CtlError::MsgSize => 90,
            CtlError::NoProtoOpt => 92,
            CtlError::NotSupp => 95,
            CtlError::AfNoSupport => 97,
        }
    }
}

/// Result of a request.
pub type Result<T = ()> = core::result::Result<T, CtlError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_numbers() {
        use CtlError::*;
        let all = [
            (Perm, 1),
            (NoEnt, 2),
            (Srch, 3),
            (NoMem, 12),
            (Fault, 14),
            (Busy, 16),
            (Exist, 17),
            (NoDev, 19),
            (Inval, 22),
            (Range, 34),
            (MsgSize, 90),
            (NoProtoOpt, 92),
            (NotSupp, 95),
            (AfNoSupport, 97),
        ];
        for (e, n) in all {
            assert_eq!(e.errno(), n);
        }
    }
}
