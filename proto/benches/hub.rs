//! What a room costs the hub by how many are in it. The hub tells all of them by one call, so that what each of them costs is not
//! in this: that is the outboxes' and the connections' matter.

use chinwag_proto::{
    Instant, MessageId, Rng, RoomId, SessionId,
    history::UnixMillis,
    hub::{Claim, Hub, JoinRequest},
    limits,
};
use divan::{Bencher, black_box};

const START: Instant = Instant::from_micros(1_000_000);
const MEMBERS: [usize; 3] = [10, 100, 1000];

fn main() {
    divan::main();
}

/// One message in a room whose history is full, as it is after the first few hours.
#[divan::bench(args = MEMBERS)]
fn say(bencher: Bencher<'_, '_>, members: usize) {
    let (mut hub, room, sender) = room(members);
    let mut id = 0;
    let mut say = || {
        id += 1;
        let text = "a message of about the length that most of them have, not more";
        hub.say(UnixMillis(1), sender, room, MessageId::from_wire(id), text, &mut |audience, notice| {
            black_box((audience, notice));
        });
    };
    (0..limits::HISTORY_MESSAGES).for_each(|_| say());
    bencher.bench_local(say);
}

/// One more comes and quits.
#[divan::bench(args = MEMBERS)]
fn join_and_quit(bencher: Bencher<'_, '_>, members: usize) {
    let (mut hub, ..) = room(members);
    bencher.bench_local(|| {
        let (session, _) = join(&mut hub, "a newcomer");
        hub.quit(session, &mut |audience, notice| {
            black_box((audience, notice));
        });
    });
}

/// A room of so many, one of them.
fn room(members: usize) -> (Hub, RoomId, SessionId) {
    let mut hub = Hub::new(limits::SESSIONS, Rng::from_number(1));
    let (session, room) = join(&mut hub, "a talker");
    (1..members).for_each(|number| {
        join(&mut hub, &format!("member {number}"));
    });
    (hub, room, session)
}

fn join(hub: &mut Hub, name: &str) -> (SessionId, RoomId) {
    let admission = hub.join(START, &JoinRequest::new(name, &[Claim::new("")]), &mut |audience, notice| {
        black_box((audience, notice));
    });
    let admission = admission.expect("there is room");
    (admission.session, admission.rooms().next().expect("it is in one").room)
}
