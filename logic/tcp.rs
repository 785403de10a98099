// SPDX-License-Identifier: GPL-2.0
//! TCP as the director sees it.
//!
//! The director may see both directions or only the client's half, and guesses what the server
//! thinks. The state decides how long a silent connection is kept and whether it counts as active.
//! C counterpart: net/netfilter/ipvs/ip_vs_proto_tcp.c.

use State::{
    Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI,
    None as NO, SynAck as SA, SynRecv as SR, SynSent as SS, TimeWait as TW,
};

/// A connection's state; the numbers are those of synchronisation messages (`IP_VS_TCP_S_*`).
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum State {
    /// Nothing seen yet.
    #[default]
    None = 0,
    /// Open in both directions.
    Established = 1,
    /// The server opens.
    SynSent = 2,
    /// The client opens.
    SynRecv = 3,
    /// The server has closed its half.
    FinWait = 4,
    /// Both halves are closed.
    TimeWait = 5,
    /// Reset, or closed for good.
    Close = 6,
    /// The client has closed its half.
    CloseWait = 7,
    /// Waits for the last acknowledgement.
    LastAck = 8,
    /// Made by a helper for a connection that is expected.
    Listen = 9,
    /// A handshake that has yet to prove itself while under attack.
    SynAck = 10,
}

/// Number of states.
pub const STATES: usize = 11;

impl State {
    /// All states in order of their numbers.
    pub const ALL: [State; STATES] = [NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA];

    /// The state of a number, as from a synchronisation message.
    #[inline]
    pub const fn from_num(n: u16) -> Option<State> {
        Some(match n {
            0 => NO,
            1 => ES,
            2 => SS,
            3 => SR,
            4 => FW,
            5 => TW,
            6 => CL,
            7 => CW,
            8 => LA,
            9 => LI,
            10 => SA,
            _ => return None,
        })
    }

    /// The state's number.
    #[inline]
    pub const fn num(self) -> u16 {
        self as u16
    }

    /// The name shown in `/proc/net/ip_vs_conn`.
    #[inline]
    pub const fn name(self) -> &'static str {
        match self {
            NO => "NONE",
            ES => "ESTABLISHED",
            SS => "SYN_SENT",
            SR => "SYN_RECV",
            FW => "FIN_WAIT",
            TW => "TIME_WAIT",
            CL => "CLOSE",
            CW => "CLOSE_WAIT",
            LA => "LAST_ACK",
            LI => "LISTEN",
            SA => "SYNACK",
        }
    }

    /// Whether connections in this state count as active.
    #[inline]
    pub const fn is_active(self) -> bool {
        const ACTIVE: u32 =
            (1 << ES as u32) | (1 << SS as u32) | (1 << SR as u32) | (1 << SA as u32);
        (ACTIVE >> self as u32) & 1 != 0
    }

    /// How long a silent connection stays in this state, in seconds, unless configured.
    #[inline]
    pub const fn default_timeout_secs(self) -> u32 {
        match self {
            NO => 2,
            ES => 15 * 60,
            SS => 2 * 60,
            SR => 60,
            FW => 2 * 60,
            TW => 2 * 60,
            CL => 10,
            CW => 60,
            LA => 30,
            LI => 2 * 60,
            SA => 120,
        }
    }
}

/// Whether connections in the numbered state count as active; unknown numbers do not.
#[inline]
pub const fn is_active(state: u16) -> bool {
    match State::from_num(state) {
        Some(s) => s.is_active(),
        None => false,
    }
}

/// Name of the numbered state; unknown numbers are `ERR!`.
#[inline]
pub const fn state_name(state: u16) -> &'static str {
    match State::from_num(state) {
        Some(s) => s.name(),
        None => "ERR!",
    }
}

/// Where a packet goes.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// To the server (`IP_VS_DIR_INPUT`).
    Input = 0,
    /// To the client (`IP_VS_DIR_OUTPUT`).
    Output = 1,
    /// To the server, and replies are known not to come this way (`IP_VS_DIR_INPUT_ONLY`).
    InputOnly = 2,
}

/// The flag byte of a TCP header, byte 13.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// Opens a connection.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// Resets a connection.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// Deliver now.
    pub const PSH: TcpFlags = TcpFlags(0x08);
    /// The acknowledgement number counts.
    pub const ACK: TcpFlags = TcpFlags(0x10);

    /// Whether a flag of `other` is set.
    #[inline]
    pub const fn has(self, other: TcpFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// SYN set.
    #[inline]
    pub const fn syn(self) -> bool {
        self.has(TcpFlags::SYN)
    }

    /// FIN set.
    #[inline]
    pub const fn fin(self) -> bool {
        self.has(TcpFlags::FIN)
    }

    /// ACK set.
    #[inline]
    pub const fn ack(self) -> bool {
        self.has(TcpFlags::ACK)
    }

    /// RST set.
    #[inline]
    pub const fn rst(self) -> bool {
        self.has(TcpFlags::RST)
    }
}

impl core::ops::BitOr for TcpFlags {
    type Output = TcpFlags;
    #[inline]
    fn bitor(self, other: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 | other.0)
    }
}

const EVENTS: usize = 4;
const NO_EVENT: u8 = EVENTS as u8;

/// Which of four events a segment is, by its RST, SYN, FIN, ACK bits: the first of RST, SYN, FIN and
/// ACK that is set decides.
static EVENT: [u8; 32] = {
    let mut t = [NO_EVENT; 32];
    let mut f = 0;
    while f < t.len() {
        let flags = TcpFlags(f as u8);
        t[f] = if flags.rst() {
            3
        } else if flags.syn() {
            0
        } else if flags.fin() {
            1
        } else if flags.ack() {
            2
        } else {
            NO_EVENT
        };
        f += 1;
    }
    t
};

/// For each state: what each event leads to, by direction.
type Table = [[State; 3 * EVENTS]; STATES];

/// In ordinary times.
#[rustfmt::skip]
static NORMAL: Table = [
    //     from the client     from the server     client only seen
    //     syn fin ack rst     syn fin ack rst     syn fin ack rst
    /*NO*/ [SR, CL, ES, CL,     SS, TW, ES, CL,     SR, CL, ES, CL],
    /*ES*/ [ES, CW, ES, CL,     ES, FW, ES, CL,     ES, FW, ES, CL],
    /*SS*/ [ES, SS, SS, CL,     SS, SS, SS, SS,     ES, SS, SS, CL],
    /*SR*/ [SR, TW, ES, SR,     SR, TW, ES, CL,     SR, TW, ES, SR],
    /*FW*/ [SR, TW, FW, CL,     SS, FW, FW, CL,     SR, FW, FW, CL],
    /*TW*/ [SR, TW, TW, CL,     SS, TW, TW, TW,     SR, TW, TW, CL],
    /*CL*/ [SR, CL, CL, CL,     SS, CL, CL, CL,     SR, CL, CL, CL],
    /*CW*/ [SR, CW, CW, CL,     SS, TW, CW, CL,     SR, CW, CW, CL],
    /*LA*/ [SR, LA, CL, LA,     SS, LA, LA, CL,     SR, LA, CL, LA],
    /*LI*/ [SR, LI, LI, LI,     LI, LI, ES, CL,     SR, LI, LI, LI],
    /*SA*/ [SR, TW, ES, SR,     SR, TW, ES, CL,     SR, TW, ES, CL],
];

/// Under attack (`secure_tcp`): a client must prove itself before it may hold a connection long.
#[rustfmt::skip]
static SECURE: Table = [
    //     from the client     from the server     client only seen
    //     syn fin ack rst     syn fin ack rst     syn fin ack rst
    /*NO*/ [SR, CL, ES, CL,     SS, TW, ES, CL,     SA, CL, ES, CL],
    /*ES*/ [ES, CW, ES, CL,     ES, FW, ES, CL,     ES, FW, ES, CL],
    /*SS*/ [ES, SS, SS, CL,     SS, SS, SS, SS,     ES, SS, SS, CL],
    /*SR*/ [SR, TW, SR, SR,     SA, TW, ES, CL,     SR, TW, ES, SR],
    /*FW*/ [SR, TW, FW, CL,     SS, FW, FW, CL,     SA, FW, FW, CL],
    /*TW*/ [SR, TW, TW, CL,     SS, TW, TW, TW,     SA, TW, TW, CL],
    /*CL*/ [SR, CL, CL, CL,     SS, CL, CL, CL,     SA, CL, CL, CL],
    /*CW*/ [SR, CW, CW, CL,     SS, TW, CW, CL,     SA, CW, CW, CL],
    /*LA*/ [SR, LA, CL, LA,     SS, LA, LA, CL,     SA, LA, CL, LA],
    /*LI*/ [SR, LI, LI, LI,     LI, LI, ES, CL,     SA, LI, LI, LI],
    /*SA*/ [SA, SA, SA, CL,     SA, TW, ES, CL,     SA, TW, ES, CL],
];

/// The state after a segment.
///
/// `secure` chooses the table for times of attack (sysctl `secure_tcp`); `no_output` is
/// [`ConnFlags::NOOUTPUT`](crate::flags::ConnFlags::NOOUTPUT) of the connection, under which
/// segments to the server count as [`Direction::InputOnly`]. The first segment from the server
/// disproves the flag: it is the caller's to clear it then. A segment without any of the four flags
/// leads to [`State::Close`].
#[inline]
pub fn transition(
    secure: bool,
    dir: Direction,
    no_output: bool,
    flags: TcpFlags,
    state: State,
) -> State {
    let dir = match dir {
        Direction::Input if no_output => Direction::InputOnly,
        d => d,
    };
    let table = if secure { &SECURE } else { &NORMAL };
    let event = EVENT[usize::from(flags.0 & 31)];
    if event == NO_EVENT {
        return State::Close;
    }
    let column = dir as usize * EVENTS + usize::from(event);
    match table.get(state as usize).and_then(|row| row.get(column)) {
        Some(new) => *new,
        None => State::Close,
    }
}

#[cfg(test)]
mod tests {
    use super::Direction::{Input, InputOnly, Output};
    use super::*;
    use proptest::prelude::*;

    const SYN: TcpFlags = TcpFlags::SYN;
    const ACK: TcpFlags = TcpFlags::ACK;
    const RST: TcpFlags = TcpFlags::RST;
    const SYN_ACK: TcpFlags = TcpFlags(0x12);
    const FIN_ACK: TcpFlags = TcpFlags(0x11);
    const PSH_ACK: TcpFlags = TcpFlags(0x18);

    fn follow(secure: bool, no_output: bool, steps: &[(Direction, TcpFlags)]) -> Vec<State> {
        let mut state = State::None;
        let step = |(dir, flags): &(Direction, TcpFlags)| {
            state = transition(secure, *dir, no_output, *flags, state);
            state
        };
        steps.iter().map(step).collect()
    }

    const OPEN: [(Direction, TcpFlags); 4] = [
        (Input, SYN),
        (Output, SYN_ACK),
        (Input, ACK),
        (Input, PSH_ACK),
    ];

    #[test]
    fn opens() {
        assert_eq!(follow(false, false, &OPEN), [SR, SR, ES, ES]);
        // Under attack the server's answer moves it on, and the client's is not enough by itself.
        assert_eq!(follow(true, false, &OPEN), [SR, SA, SA, SA]);
        assert_eq!(follow(true, false, &[(Input, SYN), (Input, ACK)]), [SR, SR]);
        // Data of the server's proves it.
        let answered = [OPEN.as_slice(), &[(Output, ACK)]].concat();
        assert_eq!(follow(true, false, &answered).last(), Some(&ES));
    }

    #[test]
    fn client_closes() {
        let close = [
            (Input, FIN_ACK),
            (Output, ACK),
            (Output, FIN_ACK),
            (Input, ACK),
        ];
        let steps = [OPEN.as_slice(), &close].concat();
        assert_eq!(follow(false, false, &steps)[4..], [CW, CW, TW, TW]);
    }

    #[test]
    fn server_closes() {
        let close = [
            (Output, FIN_ACK),
            (Input, ACK),
            (Input, FIN_ACK),
            (Output, ACK),
        ];
        let steps = [OPEN.as_slice(), &close].concat();
        assert_eq!(follow(false, false, &steps)[4..], [FW, FW, TW, TW]);
    }

    #[test]
    fn both_close_at_once() {
        let close = [
            (Input, FIN_ACK),
            (Output, FIN_ACK),
            (Input, ACK),
            (Output, ACK),
        ];
        let steps = [OPEN.as_slice(), &close].concat();
        assert_eq!(follow(false, false, &steps)[4..], [CW, TW, TW, TW]);
    }

    #[test]
    fn direct_routing_shows_one_half() {
        let seen = [
            (Input, SYN),
            (Input, ACK),
            (Input, PSH_ACK),
            (Input, FIN_ACK),
            (Input, ACK),
        ];
        assert_eq!(follow(false, true, &seen), [SR, ES, ES, FW, FW]);
        assert_eq!(follow(true, true, &seen), [SA, ES, ES, FW, FW]);
        // The same by naming the direction.
        let named: Vec<_> = seen.iter().map(|(_, f)| (InputOnly, *f)).collect();
        assert_eq!(follow(false, false, &named), follow(false, true, &seen));
        assert_eq!(follow(true, true, &named), follow(true, true, &seen));
    }

    #[test]
    fn resets() {
        let reset = |dir| [OPEN.as_slice(), &[(dir, RST)]].concat();
        assert_eq!(follow(false, false, &reset(Input)).last(), Some(&CL));
        assert_eq!(follow(false, false, &reset(Output)).last(), Some(&CL));
        // A client cannot shorten the life of a handshake by resetting it.
        assert_eq!(
            follow(false, false, &[(Input, SYN), (Input, RST)]),
            [SR, SR]
        );
        // The server can: the port is closed.
        assert_eq!(
            follow(false, false, &[(Input, SYN), (Output, RST | ACK)]),
            [SR, CL]
        );
        assert_eq!(
            follow(false, false, &[(Input, SYN), (Output, RST), (Input, SYN)]),
            [SR, CL, SR]
        );
    }

    #[test]
    fn half_open() {
        // Picked up in the middle, as after a failover.
        assert_eq!(follow(false, false, &[(Input, ACK)]), [ES]);
        assert_eq!(follow(false, false, &[(Output, ACK)]), [ES]);
        assert_eq!(follow(false, false, &[(Input, FIN_ACK)]), [CL]);
        // Opened by the server, as active FTP does.
        assert_eq!(
            follow(false, false, &[(Output, SYN), (Input, SYN_ACK)]),
            [SS, ES]
        );
    }

    #[test]
    fn expected_connection() {
        assert_eq!(transition(false, Input, false, SYN, LI), SR);
        assert_eq!(transition(false, Output, false, SYN, LI), LI);
        assert_eq!(transition(false, Output, false, ACK, LI), ES);
    }

    #[test]
    fn first_flag_decides() {
        for flags in 0..=255 {
            let f = TcpFlags(flags);
            let main = [RST, SYN, TcpFlags::FIN, ACK]
                .into_iter()
                .find(|m| f.has(*m));
            for state in State::ALL {
                let got = transition(false, Input, false, f, state);
                match main {
                    Some(m) => assert_eq!(got, transition(false, Input, false, m, state)),
                    None => assert_eq!(got, CL),
                }
            }
        }
    }

    #[test]
    fn numbers_and_names() {
        for (i, s) in State::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(s.num()), i);
            assert_eq!(State::from_num(i as u16), Some(s));
            assert_eq!(
                (state_name(s.num()), is_active(s.num())),
                (s.name(), s.is_active())
            );
        }
        let names: Vec<_> = State::ALL.iter().map(|s| s.name()).collect();
        assert_eq!(
            names.join(" "),
            "NONE ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN \
             SYNACK"
        );
        for n in [11, 12, 255, 256, u16::MAX] {
            assert_eq!(
                (State::from_num(n), state_name(n), is_active(n)),
                (None, "ERR!", false)
            );
        }
        let active: Vec<_> = State::ALL.into_iter().filter(|s| s.is_active()).collect();
        assert_eq!(active, [ES, SS, SR, SA]);
        let secs: Vec<_> = State::ALL
            .iter()
            .map(|s| s.default_timeout_secs())
            .collect();
        assert_eq!(secs, [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120]);
    }

    fn any_dir() -> impl Strategy<Value = Direction> {
        prop_oneof![Just(Input), Just(Output), Just(InputOnly)]
    }

    fn any_state() -> impl Strategy<Value = State> {
        (0..STATES).prop_map(|i| State::ALL[i])
    }

    proptest! {
        #[test]
        fn established_stays_so_by_data(
            secure: bool, dir in any_dir(), no_output: bool, syn: bool,
        ) {
            let flags = if syn { SYN_ACK } else { PSH_ACK };
            prop_assert_eq!(transition(secure, dir, no_output, flags, ES), ES);
        }

        #[test]
        fn nothing_leads_back_to_none(
            secure: bool, dir in any_dir(), no_output: bool, flags: u8, state in any_state(),
        ) {
            let new = transition(secure, dir, no_output, TcpFlags(flags), state);
            prop_assert_ne!(new, NO);
            // Resets never make a connection live longer.
            if TcpFlags(flags).rst() {
                prop_assert!(new.default_timeout_secs() <= state.default_timeout_secs().max(10));
            }
            // Output does not care for the flag, and names of directions neither.
            prop_assert_eq!(
                transition(secure, Output, false, TcpFlags(flags), state),
                transition(secure, Output, true, TcpFlags(flags), state)
            );
            prop_assert_eq!(
                transition(secure, Input, true, TcpFlags(flags), state),
                transition(secure, InputOnly, false, TcpFlags(flags), state)
            );
        }

        #[test]
        fn a_closed_connection_is_reopened_by_syn_alone(
            secure: bool, flags: u8, dir in any_dir(), no_output: bool,
        ) {
            let f = TcpFlags(flags);
            let new = transition(secure, dir, no_output, f, CL);
            prop_assert_eq!(new != CL, f.syn() && !f.rst());
        }

        #[test]
        fn tables_differ_for_handshakes_only(
            dir in any_dir(), no_output: bool, flags: u8, state in any_state(),
        ) {
            let (normal, secure) = (
                transition(false, dir, no_output, TcpFlags(flags), state),
                transition(true, dir, no_output, TcpFlags(flags), state),
            );
            if normal != secure {
                prop_assert!([SR, SA].contains(&secure) || state == SA);
            }
        }
    }
}
