//! The rooms that the user is in, as he sees them: what they are called, where a typed line goes, how a line of each is told in plain
//! lines, and what is typed about them.

use std::{borrow::Cow, collections::BTreeMap};

use chinwag_proto::{
    client::{Client, ClientEvent, ListedRoom, Member, PlaceId},
    text::{action, escape},
};
use chinwag_screen::ENDED;

/// See the module.
#[derive(Debug)]
pub(crate) struct Rooms {
    known: BTreeMap<PlaceId, Known>,
    /// Where a line goes that is typed in plain lines.
    pub(crate) here: PlaceId,
    /// Where it went before, where it goes again when this is left.
    before: PlaceId,
    /// A room that the user asked for, and looks at when he is in it.
    wanted: Option<PlaceId>,
}

#[derive(Debug)]
struct Known {
    /// As others wrote it.
    name: String,
    is_private: bool,
    /// The user was told of it: not of what is between him and one who never said anything.
    is_shown: bool,
    /// The user is or was there: of what he only asked for there is nothing to be read.
    was_entered: bool,
    /// It is no place any more, and can only be read.
    is_over: bool,
}

/// How the user is in a room for which he asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// He is to look at it now.
    Wanted,
    /// He looks at it already, unless he went on.
    Awaited,
}

impl Default for Rooms {
    fn default() -> Self {
        Self { known: BTreeMap::new(), here: PlaceId::FIRST, before: PlaceId::FIRST, wanted: None }
    }
}

impl Rooms {
    /// Learns from what happens. Whether, and how, the user is now in a room for which he asked.
    #[expect(clippy::wildcard_enum_match_arm, reason = "most events are about no room as such")]
    pub(crate) fn learn(&mut self, event: &ClientEvent) -> Option<Arrival> {
        match event {
            ClientEvent::Entered { place, name, is_private, .. } => {
                let is_shown = !is_private || self.is_shown(*place);
                let (name, is_private) = (name.clone(), *is_private);
                let known = Known { name, is_private, is_shown, was_entered: true, is_over: false };
                let former = self.known.insert(*place, known);
                let is_awaited = former.is_some_and(|former| !former.was_entered && !former.is_private);
                let is_wanted = self.wanted.take_if(|wanted| wanted == place).is_some();
                match (is_wanted, is_awaited && *place == self.here) {
                    (true, _) => Some(Arrival::Wanted),
                    (false, is_awaited) => is_awaited.then_some(Arrival::Awaited),
                }
            }
            ClientEvent::NotEntered { place, .. } => {
                // What was said between two stays to be read.
                match self.known.get_mut(place).filter(|known| known.is_private && known.is_shown) {
                    Some(known) => known.is_over = true,
                    None => self.forget(*place),
                }
                None
            }
            _ => None,
        }
    }

    /// Something is said there. Whom the user is alone with, if he is not shown that yet and is from now on.
    pub(crate) fn reveal(&mut self, place: PlaceId) -> Option<&str> {
        let known = self.known.get_mut(&place).filter(|known| !known.is_shown)?;
        known.is_shown = true;
        Some(&known.name)
    }

    /// Somebody is called otherwise: takes the names of those whom the user is alone with from who knows them. What has changed.
    pub(crate) fn rename<'a>(
        &mut self,
        name: impl Fn(PlaceId) -> Option<&'a str>,
    ) -> Vec<(PlaceId, &'a str)> {
        let private = self.known.iter_mut().filter(|(_, known)| known.is_private);
        let named = private.filter_map(|(place, known)| Some((place, name(*place)?, known)));
        let changed = named.filter(|(_, name, known)| *name != known.name).map(|(place, name, known)| {
            name.clone_into(&mut known.name);
            (*place, name)
        });
        changed.collect()
    }

    /// A room that is to be looked at as soon as the user is in it.
    pub(crate) fn want(&mut self, place: PlaceId) {
        self.wanted = Some(place);
    }

    /// What is typed is said there from now on.
    pub(crate) fn go(&mut self, place: PlaceId) {
        if self.here != place {
            self.before = std::mem::replace(&mut self.here, place);
        }
    }

    /// The same where the user is as soon as the server lets him in.
    pub(crate) fn go_ahead(&mut self, place: PlaceId, name: &str) {
        let new = || Known {
            name: name.to_owned(),
            is_private: false,
            is_shown: true,
            was_entered: false,
            is_over: false,
        };
        self.known.entry(place).or_insert_with(new);
        self.go(place);
    }

    /// The user is alone with somebody there, as he wants it.
    pub(crate) fn open(&mut self, place: PlaceId, name: &str) {
        let new = || Known {
            name: name.to_owned(),
            is_private: true,
            is_shown: true,
            was_entered: false,
            is_over: false,
        };
        self.known.entry(place).or_insert_with(new).is_shown = true;
    }

    /// The user does not look at what is between him and somebody any more.
    pub(crate) fn hide(&mut self, place: PlaceId) {
        match self.known.get_mut(&place).filter(|known| !known.is_over) {
            Some(known) => known.is_shown = false,
            None => drop(self.known.remove(&place)),
        }
        self.go_on(place);
    }

    /// Forgets the oldest of what can only be read, if there is too much of it, but not what is looked at.
    pub(crate) fn forget_oldest(&mut self, looked_at: PlaceId) -> Option<PlaceId> {
        let over = || self.known.iter().filter(|(_, known)| known.is_over);
        let is_too_much = over().count() > ENDED;
        let oldest = over().map(|(place, _)| *place).find(|place| is_too_much && *place != looked_at)?;
        self.forget(oldest);
        Some(oldest)
    }

    /// The user is not there any more.
    pub(crate) fn forget(&mut self, place: PlaceId) {
        self.known.remove(&place);
        self.wanted.take_if(|wanted| *wanted == place);
        self.go_on(place);
    }

    /// What is typed goes elsewhere, if it went there.
    fn go_on(&mut self, place: PlaceId) {
        if self.here == place && self.before != place && self.known.contains_key(&self.before) {
            self.here = self.before;
        } else if self.here == place {
            let named = self.known.iter().find(|(_, known)| !known.is_private);
            self.here = named.map_or(PlaceId::FIRST, |(place, _)| *place);
        }
    }

    pub(crate) fn is_private(&self, place: PlaceId) -> bool {
        self.known.get(&place).is_some_and(|known| known.is_private)
    }

    pub(crate) fn is_shown(&self, place: PlaceId) -> bool {
        self.known.get(&place).is_some_and(|known| known.is_shown)
    }

    /// True for what the user wanted to say to one alone who never was there.
    pub(crate) fn is_vain(&self, place: PlaceId) -> bool {
        self.known.get(&place).is_some_and(|known| known.is_private && !known.was_entered)
    }

    /// True when the user is in no other room that has a name.
    pub(crate) fn is_last(&self, place: PlaceId) -> bool {
        let is_another =
            |(id, known): (&PlaceId, &Known)| *id != place && !known.is_private && known.was_entered;
        !self.known.iter().any(is_another)
    }

    /// The room, or conversation with somebody, that is called so.
    pub(crate) fn named(&self, name: &str) -> Option<PlaceId> {
        let name = name.to_lowercase();
        let is_called = |known: &Known| known.is_shown && known.name.to_lowercase() == name;
        // A room rather than a person, and who is there rather than who was.
        let mut found: Vec<_> = self.known.iter().filter(|(_, known)| is_called(known)).collect();
        found.sort_by_key(|(_, known)| (known.is_private, known.is_over));
        found.first().map(|(place, _)| **place)
    }

    /// What it is called. Safe to print.
    pub(crate) fn label(&self, place: PlaceId) -> String {
        self.known.get(&place).map(|known| escape(&known.name).into_owned()).unwrap_or_default()
    }

    /// What stands before a line of a room in plain lines: nothing, where what is typed goes. No name has a colon, so that nobody is called
    /// as such a line begins.
    pub(crate) fn prefix(&self, place: PlaceId) -> String {
        match self.is_private(place) {
            true => ": ".to_owned(),
            false if place == self.here => String::new(),
            false => format!(":[{}] ", self.label(place)),
        }
    }

    /// What somebody said, as a plain line. Safe to print.
    pub(crate) fn line(&self, place: PlaceId, name: &str, text: &str, is_own: bool) -> String {
        let who = match self.known.get(&place).filter(|known| known.is_private) {
            Some(known) if is_own => format!("you to {}", escape(&known.name)),
            Some(_) => format!("{} to you", escape(name)),
            None => escape(name).into_owned(),
        };
        format!("{}{}", self.prefix(place), spoken(&who, text))
    }
}

/// What somebody said, or did. `who` must be safe to print; then all of it is.
pub(crate) fn spoken(who: &str, text: &str) -> String {
    match action(text) {
        Some(action) => format!("* {who} {}", escape(action)),
        None => format!("{}: {}", leading(who), escape(text)),
    }
}

/// A name where a line begins with it: one that begins as other lines do has a backslash before it, and so has one with such a backslash,
/// so that two names stay two.
pub(crate) fn leading(name: &str) -> Cow<'_, str> {
    match name.starts_with(['*', '-', '\\']) {
        true => format!("\\{name}").into(),
        false => name.into(),
    }
}

/// What a room is about, as it was written; nothing where nobody said so.
pub(crate) fn about(client: &Client, place: PlaceId) -> &str {
    client.topic(place).map_or("", |topic| &topic.text)
}

/// Who is in a room, this client too. Safe to print.
pub(crate) fn members(client: &Client, place: PlaceId) -> String {
    let names: Vec<_> = client.members(place).map(|(_, member)| described(member)).collect();
    format!("here: {}", names.join(", "))
}

fn described(member: &Member) -> String {
    let marks = [(member.marks.muted, "muted"), (member.marks.deafened, "hears nobody")];
    let marks: Vec<_> = marks.into_iter().filter(|(is_so, _)| *is_so).map(|(_, mark)| mark).collect();
    match marks.is_empty() {
        true => escape(&member.name).into_owned(),
        false => format!("{} ({})", escape(&member.name), marks.join(", ")),
    }
}

/// All rooms of a server, the fullest first. Safe to print.
pub(crate) fn listed(rooms: &[ListedRoom]) -> String {
    let mut rooms: Vec<_> = rooms.iter().collect();
    rooms.sort_by(|one, other| other.members.cmp(&one.members).then_with(|| one.name.cmp(&other.name)));
    let mut lines = vec!["rooms; /join NAME goes into one, or makes a new one:".to_owned()];
    lines.extend(rooms.into_iter().map(|room| {
        let topic = if room.topic.is_empty() { String::new() } else { format!(": {}", escape(&room.topic)) };
        format!("  {} ({} here){topic}", escape(&room.name), room.members)
    }));
    lines.join("\n")
}

/// A name at the beginning of what was typed, which may have blanks in it if it is known, and what comes behind it.
pub(crate) fn split_name(typed: &str, known: impl Iterator<Item = String>) -> (&str, &str) {
    let is_it = |name: &String| {
        let head = typed.get(..name.len()).is_some_and(|head| head.to_lowercase() == name.to_lowercase());
        head && typed.get(name.len()..).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let at = known.filter(is_it).map(|name| name.len()).max();
    let at = at.or_else(|| typed.find(char::is_whitespace)).unwrap_or(typed.len());
    let (name, text) = typed.split_at(at);
    (name, text.trim())
}

#[cfg(test)]
mod tests {
    use chinwag_proto::name::Name;
    use proptest::prelude::*;

    use super::*;

    fn entered(number: u32, name: &str, is_private: bool) -> ClientEvent {
        let place = PlaceId::from_number(number);
        ClientEvent::Entered { place, name: name.into(), is_private, again: false, continues: false }
    }

    #[test]
    fn lines_of_other_rooms_say_where_they_are_from() {
        let mut rooms = Rooms::default();
        let [lobby, den, bar] = [1, 2, 3].map(PlaceId::from_number);
        rooms.learn(&entered(1, "lobby", false));
        rooms.want(den);
        assert_eq!(rooms.learn(&entered(2, "d\u{1b}en", false)), Some(Arrival::Wanted));
        assert_eq!(rooms.learn(&entered(2, "d\u{1b}en", false)), None);
        rooms.learn(&entered(3, "Bar", true));
        assert!(!rooms.is_shown(bar), "nothing was said yet");
        for (place, text, is_own, line) in [
            (lobby, "hi", false, "Bar: hi"),
            (lobby, "/me waves", false, "* Bar waves"),
            (bar, "/me nods", false, ": * Bar to you nods"),
            (den, "h\u{7}i", false, ":[d\\u{1b}en] Bar: h\\u{7}i"),
            (bar, "psst", false, ": Bar to you: psst"),
            (bar, "what?", true, ": you to Bar: what?"),
        ] {
            assert_eq!(rooms.line(place, "Bar", text, is_own), line);
        }
        rooms.open(bar, "Bar");
        rooms.here = bar;
        assert_eq!((rooms.named("BAR"), rooms.named("lobby")), (Some(bar), Some(lobby)));
        rooms.hide(bar);
        assert_eq!((rooms.here, rooms.named("Bar")), (lobby, None));
        rooms.forget(lobby);
        assert!(rooms.here == den && rooms.is_last(den));
    }

    #[test]
    fn whoever_is_not_let_in_is_where_he_was_before() {
        let mut rooms = Rooms::default();
        let [lobby, den, attic] = [1, 2, 3].map(PlaceId::from_number);
        rooms.learn(&entered(1, "lobby", false));
        rooms.go_ahead(den, "den");
        assert!(rooms.here == den && rooms.is_last(lobby) && !rooms.is_last(den));
        assert_eq!(rooms.learn(&entered(2, "Den", false)), Some(Arrival::Awaited));
        assert!(rooms.label(den) == "Den" && !rooms.is_last(lobby));
        rooms.go_ahead(attic, "attic");
        let (name, why) = ("attic".to_owned(), String::new());
        rooms.learn(&ClientEvent::NotEntered { place: attic, name, is_private: false, why });
        assert_eq!((rooms.here, rooms.named("attic")), (den, None));
        // He went on before the answer came.
        rooms.go_ahead(attic, "attic");
        rooms.go(lobby);
        assert_eq!((rooms.learn(&entered(3, "attic", false)), rooms.here), (None, lobby));
    }

    #[test]
    fn names_are_of_people_and_not_of_names() {
        let mut rooms = Rooms::default();
        let [bar, qux, gone] = [1, 2, 3].map(PlaceId::from_number);
        for (place, name) in [(bar, "Bar"), (qux, "Qux"), (gone, "Bar")] {
            rooms.learn(&entered(place.number(), name, true));
            assert_eq!(rooms.reveal(place), Some(name));
            assert_eq!(rooms.reveal(place), None);
        }
        let (place, name, why) = (gone, "Bar".to_owned(), String::new());
        rooms.learn(&ClientEvent::NotEntered { place, name, is_private: true, why });
        // They have changed names, and both notices came before a look.
        let names = |place| BTreeMap::from([(bar, "Qux"), (qux, "Bar")]).get(&place).copied();
        assert_eq!(rooms.rename(names), [(bar, "Qux"), (qux, "Bar")]);
        assert_eq!(rooms.rename(names), []);
        assert_eq!([bar, qux, gone].map(|place| rooms.label(place)), ["Qux", "Bar", "Bar"]);
        assert_eq!((rooms.named("Qux"), rooms.named("Bar")), (Some(bar), Some(qux)));
    }

    #[test]
    fn what_is_over_can_be_read_until_there_is_too_much_of_it() {
        let mut rooms = Rooms::default();
        let place = PlaceId::from_number;
        rooms.learn(&entered(1, "lobby", false));
        let ends = |rooms: &mut Rooms, number, is_shown: bool| {
            rooms.learn(&entered(number, "Bar", true));
            if is_shown {
                rooms.open(place(number), "Bar");
            }
            let (place, name, why) = (place(number), "Bar".to_owned(), String::new());
            rooms.learn(&ClientEvent::NotEntered { place, name, is_private: true, why });
        };
        // Of those who never said anything nothing is kept.
        (2..1000).for_each(|number| ends(&mut rooms, number, false));
        assert_eq!(rooms.known.len(), 1);
        let first = 1000;
        let last = first + u32::try_from(ENDED).unwrap();
        (first..last).for_each(|number| ends(&mut rooms, number, true));
        assert_eq!(rooms.forget_oldest(place(1)), None);
        ends(&mut rooms, last, true);
        rooms.learn(&entered(last + 1, "Bar", true));
        rooms.open(place(last + 1), "Bar");
        assert_eq!(rooms.named("bar"), Some(place(last + 1)), "who is there");
        assert_eq!(rooms.forget_oldest(place(first)), Some(place(first + 1)));
        assert_eq!(rooms.forget_oldest(place(first)), None);
        // What is put away as well.
        (first..=last).for_each(|number| rooms.hide(place(number)));
        assert_eq!(rooms.known.len(), 2);
    }

    /// What may make up a name, or a text, that is meant to look like another line.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just(" "),
            Just(":"),
            Just("\\"),
            Just("* "),
            Just("-- "),
            Just("/me "),
            Just("[den] "),
            Just("Bar"),
            Just("Foo"),
            Just(" to you"),
            Just("you to "),
            Just("：")
        ];
        prop::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn nobody_can_be_called_so_that_his_lines_look_like_others(
            (name, other) in (pieces(), pieces()),
            (text, other_text) in (pieces(), pieces()),
            is_own: bool,
        ) {
            let (Ok(name), Ok(other)) = (Name::new(&name), Name::new(&other)) else { return Ok(()) };
            let mut rooms = Rooms::default();
            rooms.learn(&entered(1, "lobby", false));
            rooms.learn(&entered(2, "den", false));
            rooms.learn(&entered(3, other.as_str(), true));
            let [lobby, den, private] = [1, 2, 3].map(PlaceId::from_number);
            let line = rooms.line(lobby, name.as_str(), &text, is_own);
            for place in [den, private] {
                prop_assert_ne!(&line, &rooms.line(place, other.as_str(), &other_text, is_own));
            }
            prop_assert!(!line.starts_with([':', '-']));
            // What is done and what is said, and two who say something.
            prop_assert_eq!(line.starts_with("* "), action(&text).is_some());
            let said = rooms.line(lobby, other.as_str(), &other_text, is_own);
            if action(&text).is_none() && action(&other_text).is_none() {
                prop_assert_eq!(said == line, (&name, &text) == (&other, &other_text));
            }
        }
    }

    #[test]
    fn a_name_with_blanks_is_known_by_who_is_there() {
        for (typed, split) in [
            ("Foo hello there", ("Foo", "hello there")),
            ("foo bar hello", ("foo bar", "hello")),
            ("Foo Bar", ("Foo Bar", "")),
            ("Foo Barb hello", ("Foo", "Barb hello")),
            ("Qux", ("Qux", "")),
            ("小明 你好", ("小明", "你好")),
        ] {
            let known = ["Foo", "Foo Bar", "小明"].map(str::to_owned);
            assert_eq!(split_name(typed, known.into_iter()), split, "{typed}");
        }
    }
}
