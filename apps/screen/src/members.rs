//! Who is in a room, in the order of the alphabet, and how each is heard.

use chinwag_proto::{SessionId, limits, text::escape};

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    pub(crate) session: SessionId,
    /// As it is shown: escaped.
    pub(crate) name: String,
    /// By which it is sorted, and found.
    key: String,
    /// How loud he speaks now, of [`LOUDEST`]; 0 is not at all.
    pub(crate) level: u8,
    /// The user does not hear him.
    pub(crate) is_muted: bool,
    /// Nobody hears him, as he says.
    pub(crate) is_silent: bool,
    /// He hears nobody, as he says.
    pub(crate) is_deafened: bool,
    /// He talks and listens elsewhere, or nowhere.
    pub(crate) is_elsewhere: bool,
    /// His voice arrives badly.
    pub(crate) is_poor: bool,
}

/// Somebody who is in a room, as he says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Person<'a> {
    /// Who.
    pub session: SessionId,
    /// As he is called.
    pub name: &'a str,
    /// Nobody hears him.
    pub is_silent: bool,
    /// He hears nobody.
    pub is_deafened: bool,
    /// He talks and listens elsewhere, or nowhere.
    pub is_elsewhere: bool,
}

impl<'a> From<(SessionId, &'a str)> for Person<'a> {
    fn from((session, name): (SessionId, &'a str)) -> Self {
        Self { session, name, is_silent: false, is_deafened: false, is_elsewhere: false }
    }
}

/// The most that a level can be.
pub const LOUDEST: u8 = 8;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Members(Vec<Member>);

impl Members {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Those who are here now, in any order; what is known of those who were is forgotten.
    pub(crate) fn set<'a>(&mut self, members: impl Iterator<Item = impl Into<Person<'a>>>) {
        self.0 = members
            .take(limits::MEMBERS)
            .map(|person| {
                let person = person.into();
                let mut member = Member::new(person.session, person.name);
                member.mark(person);
                member
            })
            .collect();
        self.0.sort_by(|one, other| one.order().cmp(&other.order()));
        self.0.dedup_by_key(|member| member.session);
    }

    pub(crate) fn add(&mut self, session: SessionId, name: &str) {
        self.remove(session);
        if self.0.len() < limits::MEMBERS {
            let member = Member::new(session, name);
            let place = self.0.partition_point(|other| other.order() < member.order());
            self.0.insert(place, member);
        }
    }

    /// He is called otherwise.
    pub(crate) fn rename(&mut self, session: SessionId, name: &str) {
        let Some(at) = self.0.iter().position(|member| member.session == session) else { return };
        let former = self.0.remove(at);
        let new = Member::new(session, name);
        let member = Member { name: new.name, key: new.key, ..former };
        let place = self.0.partition_point(|other| other.order() < member.order());
        self.0.insert(place, member);
    }

    pub(crate) fn remove(&mut self, session: SessionId) {
        self.0.retain(|member| member.session != session);
    }

    pub(crate) fn has(&self, session: SessionId) -> bool {
        self.0.iter().any(|member| member.session == session)
    }

    pub(crate) fn get_mut(&mut self, session: SessionId) -> Option<&mut Member> {
        self.0.iter_mut().find(|member| member.session == session)
    }

    /// Nobody speaks but these, as loud.
    pub(crate) fn set_levels(&mut self, levels: &[(SessionId, u8)]) {
        for member in &mut self.0 {
            let level = levels.iter().find(|(session, _)| *session == member.session);
            member.level = level.map_or(0, |&(_, level)| level.min(LOUDEST));
        }
    }

    pub(crate) fn speakers(&self) -> impl Iterator<Item = &Member> {
        self.0.iter().filter(|member| member.level > 0)
    }

    /// Names that begin so, whatever their case.
    pub(crate) fn beginning_with(&self, prefix: &str) -> Vec<String> {
        let prefix = prefix.to_lowercase();
        let found = self.0.iter().filter(|member| member.key.starts_with(&prefix));
        found.map(|member| member.name.clone()).collect()
    }
}

impl Member {
    fn new(session: SessionId, name: &str) -> Self {
        let name = escape(name).into_owned();
        Self {
            session,
            key: name.to_lowercase(),
            name,
            level: 0,
            is_muted: false,
            is_silent: false,
            is_elsewhere: false,
            is_deafened: false,
            is_poor: false,
        }
    }

    /// What he says of himself.
    pub(crate) fn mark(&mut self, person: Person<'_>) {
        (self.is_silent, self.is_deafened) = (person.is_silent, person.is_deafened);
        self.is_elsewhere = person.is_elsewhere;
    }

    fn order(&self) -> (&str, SessionId) {
        (&self.key, self.session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(members: &Members) -> Vec<&str> {
        members.iter().map(|member| member.name.as_str()).collect()
    }

    #[test]
    fn they_are_in_the_order_of_the_alphabet_whatever_their_case() {
        let id = SessionId::from_wire;
        let mut members = Members::default();
        members.set([(id(1), "foo"), (id(2), "Bar"), (id(3), "Zoe")].into_iter());
        members.add(id(4), "Émile");
        members.add(id(5), "car");
        members.add(id(1), "foo");
        assert_eq!(names(&members), ["Bar", "car", "foo", "Zoe", "Émile"]);
        members.remove(id(3));
        assert_eq!(names(&members), ["Bar", "car", "foo", "Émile"]);
        assert_eq!(members.beginning_with("F"), ["foo"]);
        assert_eq!(members.beginning_with("é"), ["Émile"]);
    }

    #[test]
    fn whoever_is_not_heard_does_not_speak() {
        let id = SessionId::from_wire;
        let mut members = Members::default();
        members.set([(id(1), "Foo"), (id(2), "Bar")].into_iter());
        members.set_levels(&[(id(1), 200), (id(9), 3)]);
        assert_eq!(members.speakers().map(|member| member.level).collect::<Vec<_>>(), [LOUDEST]);
        members.set_levels(&[(id(2), 3)]);
        assert_eq!(members.speakers().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["Bar"]);
    }
}
