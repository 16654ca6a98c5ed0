//! The states of the kernel's protocol trackers, with the names that conntrack(8) prints.

/// An enum of states by the kernel's numbers. A number without a state is carried.
macro_rules! states {
    (
        $(#[$doc:meta])*
        $state:ident {
            $($(#[$variant_doc:meta])* $variant:ident = ($number:literal, $name:literal),)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub enum $state {
            $($(#[$variant_doc])* $variant,)*
            /// A number that this version does not name.
            Unknown(u8),
        }

        impl $state {
            /// Every state that has a name, by number.
            pub fn all() -> impl Iterator<Item = $state> {
                [$($state::$variant),*].into_iter()
            }

            /// The name that conntrack(8) prints; `None` for a number without one.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $($state::$variant => Some($name),)*
                    $state::Unknown(_) => None,
                }
            }

            /// The kernel's number.
            #[must_use]
            pub fn number(self) -> u8 {
                match self {
                    $($state::$variant => $number,)*
                    $state::Unknown(number) => number,
                }
            }
        }

        impl From<u8> for $state {
            #[inline]
            fn from(number: u8) -> Self {
                match number {
                    $($number => $state::$variant,)*
                    number => $state::Unknown(number),
                }
            }
        }
    };
}

states! {
    /// TCP connection states (`enum tcp_conntrack`).
    #[doc(alias = "tcp_conntrack")]
    TcpState {
        /// No packet was tracked: an entry that was created over netlink without a state.
        #[default]
        #[doc(alias = "TCP_CONNTRACK_NONE")]
        None = (0, "NONE"),
        /// A SYN was seen.
        #[doc(alias = "TCP_CONNTRACK_SYN_SENT")]
        SynSent = (1, "SYN_SENT"),
        /// A SYN/ACK was seen.
        #[doc(alias = "TCP_CONNTRACK_SYN_RECV")]
        SynRecv = (2, "SYN_RECV"),
        /// The handshake is complete.
        #[doc(alias = "TCP_CONNTRACK_ESTABLISHED")]
        Established = (3, "ESTABLISHED"),
        /// A FIN was seen.
        #[doc(alias = "TCP_CONNTRACK_FIN_WAIT")]
        FinWait = (4, "FIN_WAIT"),
        /// The other side has acknowledged the FIN.
        #[doc(alias = "TCP_CONNTRACK_CLOSE_WAIT")]
        CloseWait = (5, "CLOSE_WAIT"),
        /// Both sides have sent a FIN.
        #[doc(alias = "TCP_CONNTRACK_LAST_ACK")]
        LastAck = (6, "LAST_ACK"),
        /// The last FIN is acknowledged.
        #[doc(alias = "TCP_CONNTRACK_TIME_WAIT")]
        TimeWait = (7, "TIME_WAIT"),
        /// Reset.
        #[doc(alias = "TCP_CONNTRACK_CLOSE")]
        Close = (8, "CLOSE"),
        /// A SYN from both sides (simultaneous open).
        #[doc(alias = "TCP_CONNTRACK_SYN_SENT2")]
        #[doc(alias = "TCP_CONNTRACK_LISTEN")]
        SynSent2 = (9, "SYN_SENT2"),
    }
}

states! {
    /// SCTP association states (`enum sctp_conntrack`).
    #[doc(alias = "sctp_conntrack")]
    SctpState {
        /// No packet was tracked.
        #[default]
        #[doc(alias = "SCTP_CONNTRACK_NONE")]
        None = (0, "NONE"),
        /// An INIT was seen, or the association was aborted or shut down.
        #[doc(alias = "SCTP_CONNTRACK_CLOSED")]
        Closed = (1, "CLOSED"),
        /// An INIT-ACK was seen.
        #[doc(alias = "SCTP_CONNTRACK_COOKIE_WAIT")]
        CookieWait = (2, "COOKIE_WAIT"),
        /// A COOKIE-ECHO was seen.
        #[doc(alias = "SCTP_CONNTRACK_COOKIE_ECHOED")]
        CookieEchoed = (3, "COOKIE_ECHOED"),
        /// The handshake is complete.
        #[doc(alias = "SCTP_CONNTRACK_ESTABLISHED")]
        Established = (4, "ESTABLISHED"),
        /// A SHUTDOWN of the original side was seen.
        #[doc(alias = "SCTP_CONNTRACK_SHUTDOWN_SENT")]
        ShutdownSent = (5, "SHUTDOWN_SENT"),
        /// A SHUTDOWN of the reply side was seen.
        #[doc(alias = "SCTP_CONNTRACK_SHUTDOWN_RECD")]
        ShutdownRecd = (6, "SHUTDOWN_RECD"),
        /// A SHUTDOWN-ACK was seen.
        #[doc(alias = "SCTP_CONNTRACK_SHUTDOWN_ACK_SENT")]
        ShutdownAckSent = (7, "SHUTDOWN_ACK_SENT"),
        /// A HEARTBEAT was the first packet that was seen.
        #[doc(alias = "SCTP_CONNTRACK_HEARTBEAT_SENT")]
        HeartbeatSent = (8, "HEARTBEAT_SENT"),
        /// A HEARTBEAT was acknowledged (up to Linux 6.2).
        #[doc(alias = "SCTP_CONNTRACK_HEARTBEAT_ACKED")]
        HeartbeatAcked = (9, "HEARTBEAT_ACKED"),
    }
}

states! {
    /// DCCP connection states (`enum ct_dccp_states`), on kernels that track DCCP (up to 6.17).
    #[doc(alias = "ct_dccp_states")]
    DccpState {
        /// No packet was tracked.
        #[default]
        #[doc(alias = "CT_DCCP_NONE")]
        None = (0, "NONE"),
        /// A Request was seen.
        #[doc(alias = "CT_DCCP_REQUEST")]
        Request = (1, "REQUEST"),
        /// A Response was seen.
        #[doc(alias = "CT_DCCP_RESPOND")]
        Respond = (2, "RESPOND"),
        /// The client has acknowledged the Response.
        #[doc(alias = "CT_DCCP_PARTOPEN")]
        Partopen = (3, "PARTOPEN"),
        /// The handshake is complete.
        #[doc(alias = "CT_DCCP_OPEN")]
        Open = (4, "OPEN"),
        /// A CloseReq was seen.
        #[doc(alias = "CT_DCCP_CLOSEREQ")]
        Closereq = (5, "CLOSEREQ"),
        /// A Close was seen.
        #[doc(alias = "CT_DCCP_CLOSING")]
        Closing = (6, "CLOSING"),
        /// A Reset was seen.
        #[doc(alias = "CT_DCCP_TIMEWAIT")]
        Timewait = (7, "TIMEWAIT"),
        /// Not the state of an entry: the verdict on a packet.
        #[doc(alias = "CT_DCCP_IGNORE")]
        Ignore = (8, "IGNORE"),
        /// Not the state of an entry: the verdict on a packet.
        #[doc(alias = "CT_DCCP_INVALID")]
        Invalid = (9, "INVALID"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_carried_and_those_of_the_kernel_have_names() {
        for number in 0..=u8::MAX {
            let numbers =
                [TcpState::from(number).number(), SctpState::from(number).number(), DccpState::from(number).number()];
            assert_eq!(numbers, [number; 3]);
            let has_name = [
                TcpState::from(number).name().is_some(),
                SctpState::from(number).name().is_some(),
                DccpState::from(number).name().is_some(),
            ];
            assert_eq!(has_name, [number < 10; 3], "{number}");
        }
        assert_eq!(TcpState::from(10), TcpState::Unknown(10));
        assert!(SctpState::all().map(SctpState::number).eq(0..10) && DccpState::all().map(DccpState::number).eq(0..10));
    }
}
