//! Every limit of the core, by name. What happens at a limit is said where it is enforced; the rule of the house:
//! voice is dropped, oldest first; text is never dropped, its sender waits or a reader that cannot keep up is closed.

use crate::time::Duration;

/// The port number of `chinwag/1`, for TCP and UDP.
pub const DEFAULT_PORT: u16 = 24469;
/// The room of whoever asks for none.
pub const DEFAULT_ROOM: &str = "lobby";

/// Characters in a name, after normalisation.
pub const NAME_CHARS: usize = 32;
/// Bytes of a name or room name as received, by either end, before normalisation.
pub const NAME_BYTES: usize = 256;
/// Bytes of a message.
pub const MESSAGE_BYTES: usize = 4096;
/// Bytes of one control frame's body.
pub const FRAME_BYTES: usize = 64 * 1024;
/// Bytes of one control frame's body before the peer is known: with as many claims as there may be.
pub const HELLO_BYTES: usize = 32 * 1024;
/// Bytes of a datagram, header and seal included: fits the smallest path of the Internet without fragments.
pub const DATAGRAM_BYTES: usize = 1200;
/// Bytes of one Opus packet in a voice frame.
pub const OPUS_BYTES: usize = 1000;
/// Voice frames in one datagram.
pub const FRAMES_PER_DATAGRAM: usize = 16;

/// Rooms of a server.
pub const ROOMS: usize = 256;
/// The largest number of a room; then they begin anew.
pub const LAST_ROOM: u32 = (1 << 22) - 1;
/// Rooms with a name that one session may be in at once.
pub const ROOMS_EACH: usize = 16;
/// Private conversations that one session may have, those that others began, too.
pub const PRIVATE_EACH: usize = 48;
/// Claims in a Hello; more are refused.
pub const CLAIMS: usize = ROOMS_EACH + PRIVATE_EACH;
/// Private conversations of a server.
pub const PRIVATE_ROOMS: usize = 16_384;
/// Bytes of a room's topic.
pub const TOPIC_BYTES: usize = 400;
/// Bytes of messages that are told again to one who comes back, [`MESSAGE_COST`] for each counted in, in all of his rooms together, each with the
/// same share: all that a single room remembers.
pub const REPLAY_BYTES: usize = HISTORY_MESSAGES * (MESSAGE_BYTES + MESSAGE_COST);
/// The same and the members of those rooms, [`MEMBER_COST`] for each counted in: who comes back into crowded rooms is told less of what he
/// missed.
pub const WELCOME_BYTES: usize = 6 * 1024 * 1024;
/// What a member takes on the wire beside his name, at most.
pub const MEMBER_COST: usize = 24;
/// The same and his name, of characters of four bytes.
pub const MEMBER_BYTES: usize = 4 * NAME_CHARS + MEMBER_COST;
/// Sessions of a server, attached ones; `--max-clients` may lower it.
pub const SESSIONS: usize = 10_000;
/// Sessions whose connection is gone, kept for whoever resumes them. The oldest is forgotten first.
pub const HELD_SESSIONS: usize = 4096;
/// Connections that have not finished their Hello. One more is closed at once.
pub const PENDING_HELLOS: usize = 1024;
/// Messages that a room remembers for those who resume.
pub const HISTORY_MESSAGES: usize = 1024;
/// What a message takes beside its text: in memory, and with its author's name and its numbers on the wire, at most.
pub const MESSAGE_COST: usize = 256;
/// Bytes of the messages that all rooms with a name together remember, [`MESSAGE_COST`] for each counted in; while there are more, each that is
/// spoken in keeps only its share.
pub const HISTORIES_BYTES: usize = 256 * 1024 * 1024;
/// See [`HISTORIES_BYTES`]; so much, too, a starting server reads of each room.
pub const HISTORY_SHARE_BYTES: usize = 1024 * 1024;
/// The same for all private conversations together, of which there may be many more.
pub const PRIVATE_HISTORIES_BYTES: usize = 64 * 1024 * 1024;
/// See [`PRIVATE_HISTORIES_BYTES`]: one message of any length.
pub const PRIVATE_SHARE_BYTES: usize = MESSAGE_BYTES + MESSAGE_COST;
/// Members that a client keeps: a full room.
pub const MEMBERS: usize = SESSIONS;
/// Bytes of a resume token that a client keeps.
pub const RESUME_TOKEN_BYTES: usize = 64;
/// Rooms in one `RoomList` frame (a name and a topic are at most 528 bytes, so that a frame stays under [`FRAME_BYTES`]).
pub const ROOMS_PER_FRAME: usize = 64;
/// Members in one `Members` frame (a name is at most 128 bytes, so that a frame stays under [`FRAME_BYTES`]).
pub const MEMBERS_PER_FRAME: usize = 256;

/// Messages of one client that may be unacknowledged; so many acknowledgements the server remembers for repeats, and with so many that
/// are not kept yet a client is not read from.
pub const UNACKED_MESSAGES: usize = 64;
/// Clients without a session whose acknowledgements the server remembers. The oldest are forgotten first.
pub const FORMER_AUTHORS: usize = 8192;
/// Bytes of messages that may wait to be kept by the store, [`MESSAGE_COST`] for each counted in; while there are more, nobody is read from of
/// whom one waits, and with twice as much nobody at all. Far less than [`CONTROL_QUEUE_BYTES`], since all of it may be told at once.
pub const KEEPING_BYTES: usize = 2 * 1024 * 1024;
/// Messages of a room, beyond those that it remembers, that a starting server looks through for what clients may say again.
pub const ACCEPTED_AT_START: usize = 16_384;
/// Messages that a client holds until they are acknowledged; one more is refused to the caller.
pub const OUTGOING_MESSAGES: usize = 1024;

/// Messages in one page of a history, at most; fewer where their texts have more than [`PAGE_BYTES`].
pub const PAGE_MESSAGES: usize = 200;
/// Bytes of the texts in one page: it fits a frame, names and numbers included.
pub const PAGE_BYTES: usize = 16 * 1024;
/// Bytes of the words that somebody searches for.
pub const SEARCH_BYTES: usize = 256;
/// Words that are looked for where there is no index; more are left out.
pub const SEARCH_WORDS: usize = 8;
/// Pages and searches that may wait for the store at once; one more is refused.
pub const READS: usize = 256;
/// Of these, so many for one member.
pub const READS_EACH: usize = 4;

/// Bytes of control frames that may wait for one peer; a peer that lets more pile up is closed. The largest welcome
/// ([`WELCOME_BYTES`]) fits with room to spare: else whoever missed much could never come back.
pub const CONTROL_QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of voice frames that may wait for one peer on its TCP connection; the oldest are dropped.
pub const VOICE_QUEUE_BYTES: usize = 16 * 1024;

/// Bytes that a classic program reads at once: a longer line goes to it in several pieces, and what it says is not longer.
pub const CLASSIC_BYTES: usize = 1024;
/// From connect to a name, which somebody has to type.
pub const CLASSIC_NAME_TIMEOUT: Duration = Duration::from_secs(120);
/// A classic peer that says nothing is asked by the driver's system whether it is there, first after so long.
pub const CLASSIC_QUIET: Duration = Duration::from_secs(30);
/// A classic peer that takes nothing for so long, or does not answer when it is asked, is given up by the driver's system. Longer than
/// a minute, for which a person may stop his terminal.
pub const CLASSIC_STUCK: Duration = Duration::from_secs(75);
/// Classic connections that have not said a name. One more is closed at once.
pub const PENDING_NAMES: usize = 128;
/// What may be half of a character, or of `{quit}`, is waited for so long.
pub const CLASSIC_HOLD: Duration = Duration::from_millis(250);

/// From connect to a finished Hello.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// A client asks for a sign of life so often: twice before it is taken for silent. Most of what an idle client costs a server.
pub const PING_INTERVAL: Duration = Duration::from_secs(7);
/// A good server answers that sooner.
pub const ANSWER_LATE: Duration = Duration::from_secs(2);
/// The user is told of a server that owes an answer and is silent for so long.
pub const SILENCE_TOLD: Duration = Duration::from_secs(5);
/// A peer that is silent for so long is gone.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);
/// A session whose connection broke is announced as gone after this, unless it was resumed.
pub const RESUME_GRACE: Duration = Duration::from_secs(8);
/// A session whose connection broke can be resumed for so long.
pub const RESUME_HOLD: Duration = Duration::from_secs(60 * 60);
/// After a Close the peer has so long to read what was sent before the connection is cut.
pub const CLOSE_LINGER: Duration = Duration::from_secs(2);

/// What a control frame costs its sender, and each of its bytes: the rate of one peer is bounded by pausing its
/// connection when it is ahead of the clock by more than [`CONTROL_BURST`]. About 1 900 small messages a second.
pub const CONTROL_FRAME_COST: Duration = Duration::from_micros(500);
/// See [`CONTROL_FRAME_COST`]: 125 kB/s.
pub const CONTROL_BYTE_COST: Duration = Duration::from_micros(8);
/// See [`CONTROL_FRAME_COST`].
pub const CONTROL_BURST: Duration = Duration::from_secs(2);
/// What it costs a member to hear voice another way: a client does so a few times in a minute at most, and each time a room is
/// looked through. Counts as [`CONTROL_FRAME_COST`] does.
pub const VOICE_PATH_COST: Duration = Duration::from_millis(20);
/// What it costs a member to join or leave a room, to take another name, to be muted, or to say what a room is about: many are told of it. Counts as
/// [`CONTROL_FRAME_COST`] does.
pub const CHANGE_COST: Duration = Duration::from_millis(100);
/// What a session pays for a room that it makes: there are not many for all.
pub const ROOM_COST: Duration = Duration::from_secs(30);
/// How far a session may be ahead of [`ROOM_COST`]: it makes twice as many as it may be in, and then one now and then.
pub const ROOM_BURST: Duration = Duration::from_secs(30 * (2 * ROOMS_EACH as u64 - 1));
/// What each kilobyte costs of what is told to one who joins a room or asks which there are: 1 MB/s. Counts as [`CONTROL_FRAME_COST`] does.
pub const ANSWER_COST: Duration = Duration::from_millis(1);
/// What a page of the history costs who asks for it. Counts as [`CONTROL_FRAME_COST`] does.
pub const HISTORY_COST: Duration = Duration::from_millis(20);
/// The same for a search, which looks at much more.
pub const SEARCH_COST: Duration = Duration::from_millis(100);
/// What a voice datagram costs its talker: at most 250 a second in the long run; more are dropped and counted.
pub const VOICE_DATAGRAM_COST: Duration = Duration::from_millis(4);
/// How far a talker may be ahead of [`VOICE_DATAGRAM_COST`].
pub const VOICE_BURST: Duration = Duration::from_millis(400);

/// The longest that an operator may let voice wait for more of it.
pub const VOICE_HOLD: Duration = Duration::from_millis(20);
/// Voice that waits for longer than that in the system's queue is late.
pub const VOICE_LATE: Duration = Duration::from_millis(40);
/// When all that comes has been late for so long, more comes than can be passed on, and it is shed.
pub const VOICE_LATE_FOR: Duration = Duration::from_millis(100);
/// Until it waited no longer than that.
pub const VOICE_FRESH: Duration = Duration::from_millis(5);

/// What a report on a talker costs its listener: at most 200 a second in the long run; more are dropped and counted.
pub const REPORT_COST: Duration = Duration::from_millis(5);
/// How far a listener may be ahead of [`REPORT_COST`].
pub const REPORT_BURST: Duration = Duration::from_millis(500);
/// Between two reports to one talker: what comes meanwhile is put together.
pub const REPORT_INTERVAL: Duration = Duration::from_millis(250);

/// From the first try to a Welcome; then the client gives up that connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause before a client tries to connect again; it doubles from try to try.
pub const RECONNECT_MIN: Duration = Duration::from_millis(250);
/// A connection that stood for so long was a good one: the next pause is the first again.
pub const RECONNECT_STABLE: Duration = Duration::from_secs(5);
/// The longest pause before a client tries to connect again.
pub const RECONNECT_MAX: Duration = Duration::from_secs(15);
/// How long a client that quits waits for the server's goodbye.
pub const QUIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The first path probes, that tell how steady the path is.
pub const FIRST_PROBES: usize = 24;
/// Between those.
pub const PROBE_INTERVAL_FIRST: Duration = Duration::from_millis(50);
/// Between path probes while there is voice.
pub const PROBE_INTERVAL_ACTIVE: Duration = Duration::from_secs(1);
/// Between path probes while there is none; keeps the mapping of a NAT alive (RFC 8445, section 11: every 15 s). Every second
/// ping, so that it wakes nobody by itself.
pub const PROBE_INTERVAL_IDLE: Duration = Duration::from_secs(14);
/// An unanswered probe is repeated after this.
pub const PROBE_RETRY: Duration = Duration::from_millis(200);
/// UDP that answers no probe for so long is not used.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Counters that the replay window looks back.
pub const REPLAY_WINDOW: u64 = 1024;
