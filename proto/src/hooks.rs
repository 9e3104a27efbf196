//! What a simulator may change in the core: limits made small, so that what happens at them happens often, and mistakes
//! made on purpose, so that it is seen which check finds them.
//!
//! Only in builds with debug assertions. In all others there is nothing to set, the questions below have constant answers, and
//! nothing is left of them. What is set holds for the whole process: whoever sets hooks runs one world at a time.

use core::time::Duration;

use crate::limits;

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $limit:ident = $bit:literal, $normal:expr, $small:literal;)*) => {
        /// A limit that can be made small.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Limit { $($(#[doc = $doc])+ $limit = 1 << $bit,)* }

        impl Limit {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$limit,)*];

            /// What it is.
            #[inline]
            pub fn value(self) -> usize {
                match self {
                    $(Self::$limit => if is_small(self) { $small } else { $normal },)*
                }
            }
        }
    };
}

limits! {
    /// [`limits::HISTORY_MESSAGES`].
    HistoryMessages = 0, limits::HISTORY_MESSAGES, 8;
    /// [`limits::HISTORIES_BYTES`] and [`limits::HISTORY_SHARE_BYTES`]: what each room may have, or as much as it will.
    HistoryBytes = 1, usize::MAX, 8_704;
    /// [`limits::UNACKED_MESSAGES`].
    UnackedMessages = 2, limits::UNACKED_MESSAGES, 3;
    /// [`limits::OUTGOING_MESSAGES`].
    OutgoingMessages = 3, limits::OUTGOING_MESSAGES, 8;
    /// [`limits::VOICE_QUEUE_BYTES`].
    VoiceQueueBytes = 4, limits::VOICE_QUEUE_BYTES, 2_000;
    /// [`limits::HELD_SESSIONS`].
    HeldSessions = 5, limits::HELD_SESSIONS, 2;
    /// [`limits::PENDING_HELLOS`].
    PendingHellos = 6, limits::PENDING_HELLOS, 3;
    /// [`limits::REPLAY_WINDOW`].
    ReplayWindow = 7, limits::REPLAY_WINDOW as usize, 64;
    /// [`limits::MEMBERS_PER_FRAME`].
    MembersPerFrame = 8, limits::MEMBERS_PER_FRAME, 2;
    /// [`limits::ROOMS`].
    Rooms = 9, limits::ROOMS, 3;
    /// [`limits::RESUME_HOLD`], in seconds.
    ResumeHoldSeconds = 10, limits::RESUME_HOLD.as_secs() as usize, 20;
    /// [`limits::CONTROL_QUEUE_BYTES`]: makes the first three small, too, since there is always room for the largest welcome.
    ControlQueueBytes = 11, limits::CONTROL_QUEUE_BYTES, 65_536;
    /// [`limits::ROOMS_EACH`].
    RoomsEach = 12, limits::ROOMS_EACH, 3;
    /// [`limits::PRIVATE_EACH`].
    PrivateEach = 13, limits::PRIVATE_EACH, 2;
}

/// [`limits::RESUME_HOLD`].
pub(crate) fn resume_hold() -> Duration {
    Duration::from_secs(Limit::ResumeHoldSeconds.value() as u64)
}

macro_rules! mistakes {
    ($($mistake:ident = $name:literal;)*) => {
        /// A mistake that can be made on purpose.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Mistake { $(#[doc = $name] $mistake,)* }

        impl Mistake {
            /// All of them, with a few words on each.
            pub const ALL: &[(Self, &str)] = &[$((Self::$mistake, $name),)*];
        }
    };
}

mistakes! {
    NewestCounterTwice = "the replay window takes the newest counter twice";
    AddressBeforeSeal = "a voice path's address follows datagrams that nobody sealed";
    AckBeforeOrder = "a message is acknowledged with the place before its own";
    SaidTwice = "a message that is repeated is taken for a new one";
    LostIsForever = "nobody whose connection was lost is announced as gone";
    SilenceIsLife = "the server waits for a silent peer forever";
    StolenSession = "a session is resumed without its token";
    ReplayFromNext = "who resumes is told one event too few";
    ReplayFromBefore = "who resumes is told one event again";
    NumberingForgotten = "all numberings of rooms have the same name";
    NameTwice = "a name is given to two members";
    NameKept = "the name of one who left stays taken";
    LeaveUntold = "nobody is told that somebody left";
    VoiceAcrossRooms = "voice goes to every room";
    VoiceEcho = "talkers are sent their own voice";
    VoiceForged = "the server takes voice in anybody's name";
    HelloForever = "a connection without a Hello may stay";
    PendingLeak = "a connection that ends before its Hello is still counted";
    PauseForever = "a paused connection is never read again";
    PingEarly = "a timeout comes before there is anything to do";
    DeadlineHidden = "deadlines of sessions are not announced to the driver";
    HistoryGrows = "a room never forgets";
    HeldGrows = "sessions are held without bound";
    VoiceQueueGrows = "queued voice is never dropped";
    TextDropped = "queued text is dropped like voice";
    OutgoingForgotten = "a client forgets what it said when its connection is lost";
    OutgoingUnsent = "a client does not say again what was not acknowledged";
    AckBySending = "a client takes what it sent for acknowledged";
    GapHidden = "a client tells its user nothing of a gap";
    MembersStay = "a client keeps members who left";
    NeverTcp = "a client sends voice by datagrams that do not get through";
    ConnectForever = "a client waits forever for a connection";
    QuitForever = "a client waits forever for the goodbye";
    PanicOnGarbage = "bytes that are no message are a panic";
    Runaway = "a client's deadline never moves";
    SilenceEarly = "the server gives up a peer that it has not heard from for a moment";
    BufferDeep = "a jitter buffer waits longer than it has to";
    FrameTwice = "a jitter buffer plays a frame again that was played";
    ClassicEchoForgotten = "a classic peer is not sent its own line back";
    ClassicJoinTold = "a classic peer is told of its own coming";
    ClassicCharacterCut = "a long line for a classic peer is cut within a character";
    ClassicQuitCut = "half of a classic peer's {quit} is taken for a message at once";
    ClassicLineSkipped = "a classic peer that is far behind is not sent a line";
    ClassicLineOpen = "who ends his lines is sent lines that do not end";
    ClassicGoodbyeForgotten = "a classic peer is closed without a word";
    ClassicLossUntold = "nobody is told that a classic peer is gone";
    ToldBeforeKept = "a message is told before it is kept";
    AuthorsForgotten = "a server that starts does not know what clients may say again";
    LastForgotten = "a server that starts forgets the last message of each room";
    RefusedIsKept = "what could not be kept is taken for kept";
    HelloLeavesNothing = "a Hello does not take a member out of the rooms that he left";
    PrivateToAll = "what is said to one alone is told to all";
    PrivateToOperator = "the operator is told what is said to one alone";
    PrivateKept = "what is said to one alone is kept by the store";
    PrivateBeginningLost = "who begins what another has begun is not told what was said until then";
    WhoeverHasName = "who was alone with somebody is alone with whoever has that name now";
    TopicBeforeKept = "what a room is about is told before it is kept";
    TopicForgotten = "a server that starts forgets what rooms are about";
    FormerNameKept = "the former name of one who took another stays taken";
    MarksUntold = "nobody is told that somebody is muted";
    ConversationTold = "all are told in which conversation somebody talks";
    VoiceUnconfirmed = "a client talks before it is known in which room";
    VoiceStays = "voice stays in the room where it was";
    PartForgets = "a client that leaves a room forgets what it said there";
    PartedTold = "a client tells its user what happens in a room that he left";
    UnenteredOvertaken = "what is said in a room that is not entered yet is overtaken by what is said later";
}

#[cfg(debug_assertions)]
mod set {
    use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

    static SMALL: AtomicU32 = AtomicU32::new(0);
    /// 0 is none.
    static MISTAKE: AtomicU32 = AtomicU32::new(0);

    /// Sets which limits are small (a bit each), and the mistake that is made, if any.
    pub fn set(small: u32, mistake: Option<super::Mistake>) {
        use super::Limit::{ControlQueueBytes, HistoryBytes, HistoryMessages, UnackedMessages};
        // A small queue has room only for a small history, and for few messages at once.
        let few = HistoryBytes as u32 | HistoryMessages as u32 | UnackedMessages as u32;
        let needed = if small & ControlQueueBytes as u32 != 0 { few } else { 0 };
        SMALL.store(small | needed, Relaxed);
        MISTAKE.store(mistake.map_or(0, |mistake| mistake as u32 + 1), Relaxed);
    }

    #[inline]
    pub(super) fn is_small(limit: super::Limit) -> bool {
        SMALL.load(Relaxed) & limit as u32 != 0
    }

    #[inline]
    pub(super) fn is_made(mistake: super::Mistake) -> bool {
        MISTAKE.load(Relaxed) == mistake as u32 + 1
    }
}

#[cfg(debug_assertions)]
pub use self::set::set;

#[inline]
fn is_small(limit: Limit) -> bool {
    #[cfg(debug_assertions)]
    return set::is_small(limit);
    #[cfg(not(debug_assertions))]
    {
        let _ = limit;
        false
    }
}

/// True when this mistake is to be made: never, but for a simulator that looks whether it finds it.
#[inline]
pub fn is_made(mistake: Mistake) -> bool {
    #[cfg(debug_assertions)]
    return set::is_made(mistake);
    #[cfg(not(debug_assertions))]
    {
        let _ = mistake;
        false
    }
}
