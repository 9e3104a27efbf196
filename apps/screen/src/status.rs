//! What the status line tells: the connection, and the user's own voice.

/// See the module. Everything that is not known is not shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The connection.
    pub link: Link,
    /// Round-trip time in milliseconds.
    pub rtt_ms: Option<u32>,
    /// Which way voice goes.
    pub path: Option<Path>,
    /// What is lost of voice, there or back, in thousandths.
    pub lost_per_mille: u16,
    /// The microphone; none if there is none.
    pub mic: Option<Mic>,
    /// Nobody hears the user, who may have no microphone now and another one later.
    pub is_muted: bool,
    /// The user hears nobody.
    pub is_deafened: bool,
}

/// How it stands with the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Link {
    /// It is tried.
    #[default]
    Connecting,
    /// It stands.
    In,
    /// It stands, but the server owes an answer and has said nothing since that moment: milliseconds of the clock of
    /// [`crate::Model::set_now`].
    Silent {
        /// When it said something last.
        since: u64,
    },
    /// It is lost, and tried again at that moment: milliseconds of the clock of [`crate::Model::set_now`].
    Lost {
        /// When.
        retry_at: u64,
    },
}

/// Which way voice goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// By datagrams.
    Udp,
    /// By the connection of text.
    Tcp,
    /// Both at once, in doubt.
    Both,
}

/// The microphone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mic {
    /// When it is sent.
    pub gate: Gate,
    /// It is sent now.
    pub is_sent: bool,
    /// How loud it is, of [`crate::LOUDEST`].
    pub level: u8,
}

/// When the microphone is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    /// While the user speaks.
    Voice,
    /// At any sound.
    Level,
    /// Always.
    Open,
    /// By a button, which is held or is not.
    PushToTalk {
        /// Whether it is.
        is_held: bool,
    },
}
