//! Things that a swarm must have seen: each happened in some world, or the swarm does not try what it should.

macro_rules! sometimes {
    ($($name:ident = $text:literal;)*) => {
        /// Something interesting that happened.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Sometimes { $(#[doc = $text] $name,)* }

        impl Sometimes {
            /// All of them, with a few words on each.
            pub const ALL: &[(Self, &str)] = &[$((Self::$name, $text),)*];
        }
    };
}

sometimes! {
    Resumed = "a session went on over another connection";
    ResumedWithGap = "a session went on, and something was no longer remembered";
    ResumedAfterGone = "a session went on that was announced as gone";
    NotResumed = "a client came back and had to begin anew";
    NewNumbering = "a client came back to a room with another numbering";
    NameTaken = "somebody was refused for a name";
    NameFreed = "a newcomer got the name of a session without a connection";
    Paused = "the server stopped reading from a connection";
    PausedAndLost = "a connection was lost while it was paused";
    TooSlow = "a connection was closed, since its reader did not keep up";
    Busy = "a connection was closed, since too many waited for their Hello";
    Silent = "a peer was closed for its silence";
    HelloTimeout = "a peer was closed for not saying Hello";
    Undecodable = "a peer was closed for what it sent";
    Replaced = "a connection was closed, since its session went on elsewhere";
    HeldForgotten = "the server forgot a session before its time";
    RoomForgotten = "a room was forgotten";
    FallbackToTcp = "voice fell back to TCP in the middle of a talk spurt";
    BackToUdp = "voice went back to UDP after that";
    VoiceBothWays = "a voice frame came both ways";
    VoiceShared = "frames of several talkers shared a datagram";
    SentByThreads = "several threads sent what was to be sent at once";
    VoiceDropped = "an outbox dropped voice";
    Rebound = "a voice path followed a client to another address";
    ReplayRefused = "a replay window refused a datagram";
    ForgeryRefused = "a seal refused a datagram";
    ForgedTalker = "the server refused voice in another's name";
    HalfOpen = "a connection was dead at one end only";
    ConnectTimeout = "a try to connect was never answered";
    ServerCrashed = "the server crashed with people in it";
    ClientFell = "a client crashed with messages unacknowledged";
    PausedNode = "a node was paused and woke up to what had come meanwhile";
    Outcast = "the others came to rest while somebody was cut off";
    QuitDead = "somebody quit over a dead connection";
    SmallLimit = "a limit of the core was small";
    WindowFull = "a writer had to wait for its reader";
    ClassicJoined = "a classic peer was let in";
    ClassicAskedAgain = "a classic peer was asked for a name again";
    ClassicNameTaken = "a classic peer was told that a name is in use";
    ClassicQuit = "a classic peer said that it leaves";
    ClassicCutQuit = "a classic peer said so in two portions";
    ClassicVanished = "a classic peer vanished and was announced as gone";
    ClassicGivenUp = "a classic peer that did not answer any more was given up by the system";
    ClassicTooSlow = "a classic peer was closed, since it did not read";
    ClassicLines = "lines went to a classic peer in one write, since it was far behind";
    ClassicPieces = "a message went to a classic peer in pieces";
    ClassicCutCharacter = "what was read of a classic peer ended within a character";
    ClassicHeard = "a client was told what a classic peer said";
    ClassicTold = "a classic peer was told what a client said";
    FoundAgain = "a client came back to a room that was kept over a start of the server";
    KeptUntold = "a message was kept, and the server crashed before it told anybody";
    ToldAfterCrash = "a client was told after a crash that a message was kept right before it";
    NotKept = "a message was refused, since it could not be kept";
    StorePaused = "the server stopped reading from a connection until more was kept";
    PageGiven = "a client was given a page of its room's history";
    PageRead = "a page of a room's history was read from the disk";
    PageRefused = "a client was refused a page, since it waited for others";
    Wandered = "somebody came into one more room";
    Parted = "somebody left a room and went on";
    PartedWaiting = "somebody left a room in which he had said something that was not acknowledged";
    PartedAway = "somebody left a room while he was not connected";
    Renamed = "somebody was told that somebody has another name";
    TopicTold = "somebody was told what a room is about";
    TopicRestored = "what a room is about was found again after a crash";
    NotDone = "somebody was refused a change";
    NotEntered = "somebody was not let into a room, or nobody was there to be alone with";
    Opened = "somebody was told that another is alone with him";
    AloneAgain = "two were alone together again after a lost connection";
    ToldAlone = "somebody was told something alone";
    VoiceMoved = "voice was heard of somebody who had moved";
    Met = "who resumed was told who came and left meanwhile";
}

/// How often each happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally([u64; Sometimes::ALL.len()]);

impl Default for Tally {
    fn default() -> Self {
        Self([0; Sometimes::ALL.len()])
    }
}

impl Tally {
    pub(crate) fn note(&mut self, what: Sometimes) {
        self.0[what as usize] += 1;
    }

    /// Puts another world's together with this one.
    pub fn add(&mut self, other: &Self) {
        for (count, other) in self.0.iter_mut().zip(other.0) {
            *count += other;
        }
    }

    /// How often something happened.
    pub fn of(&self, what: Sometimes) -> u64 {
        self.0[what as usize]
    }

    /// What never happened, in words.
    pub fn never(&self) -> impl Iterator<Item = &'static str> + '_ {
        Sometimes::ALL.iter().filter(|(what, _)| self.of(*what) == 0).map(|(_, text)| *text)
    }

    /// The counts, for another process.
    pub fn counts(&self) -> &[u64] {
        &self.0
    }

    /// What [`Tally::counts`] gave; missing ones are 0.
    pub fn from_counts(counts: impl IntoIterator<Item = u64>) -> Self {
        let mut tally = Self::default();
        for (mine, count) in tally.0.iter_mut().zip(counts) {
            *mine = count;
        }
        tally
    }
}
