//! Who is ignored: by name, and by whatever other name he takes as long as he is here.

use chinwag_proto::SessionId;

/// Who can be ignored at once; more than that is a case for who runs the server.
pub(crate) const IGNORED: usize = 100;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ignored(Vec<One>);

#[derive(Debug)]
struct One {
    /// By which name he was ignored.
    first: String,
    /// How he is called.
    name: String,
    /// Whose session that is, while he is here.
    session: Option<SessionId>,
}

/// What became of a wish.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Toggled {
    /// Whoever is called so is ignored now.
    Ignored,
    /// Whoever was ignored by this name at first is not any more.
    Seen(String),
    /// [`IGNORED`] others are ignored already.
    TooMany,
}

impl Ignored {
    /// These were ignored another day.
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        let ones = names.into_iter().take(IGNORED);
        Self(ones.map(|name| One { first: name.clone(), name, session: None }).collect())
    }

    /// Somebody is ignored from now on, or no more.
    pub(crate) fn toggle(&mut self, name: &str) -> Toggled {
        if let Some(at) = self.0.iter().position(|one| is_same(&one.name, name)) {
            return Toggled::Seen(self.0.remove(at).first);
        }
        if self.0.len() >= IGNORED {
            return Toggled::TooMany;
        }
        self.0.push(One { first: name.to_owned(), name: name.to_owned(), session: None });
        Toggled::Ignored
    }

    /// Whether what somebody says is hidden.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|one| is_same(&one.name, name))
    }

    /// How those who are ignored are called.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|one| one.name.as_str())
    }

    /// This is how somebody who is here is called, perhaps otherwise than before.
    pub(crate) fn meet(&mut self, session: SessionId, name: &str) {
        let known = self.0.iter().position(|one| one.session == Some(session));
        let known =
            known.or_else(|| self.0.iter().position(|one| one.session.is_none() && is_same(&one.name, name)));
        if let Some(one) = known.and_then(|at| self.0.get_mut(at)) {
            one.session = Some(session);
            name.clone_into(&mut one.name);
        }
    }

    /// Whoever is gone is ignored by the name by which he was at first, since others may have the one that he took.
    pub(crate) fn settle(&mut self, is_here: impl Fn(SessionId) -> bool) {
        let gone = |one: &&mut One| one.session.is_some_and(|session| !is_here(session));
        for one in self.0.iter_mut().filter(gone) {
            one.session = None;
            one.name.clone_from(&one.first);
        }
    }
}

fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAR: SessionId = SessionId::from_wire(7);

    #[test]
    fn whoever_is_ignored_stays_so_by_another_name_until_he_goes() {
        let mut ignored = Ignored::new(["Foo".to_owned()]);
        assert_eq!(ignored.toggle("bar"), Toggled::Ignored);
        ignored.meet(BAR, "Bar");
        ignored.meet(SessionId::from_wire(8), "Baz");
        ignored.meet(BAR, "Qux");
        assert_eq!(ignored.names().collect::<Vec<_>>(), ["Foo", "Qux"]);
        // Somebody else has that name now.
        ignored.meet(SessionId::from_wire(9), "Bar");
        assert!(ignored.has("QUX") && !ignored.has("Bar") && !ignored.has("Baz"));
        ignored.settle(|session| session == BAR);
        assert!(ignored.has("Qux"));
        ignored.settle(|_| false);
        assert!(ignored.has("Bar") && !ignored.has("Qux"));
        ignored.meet(BAR, "Bar");
        ignored.meet(BAR, "Qux");
        assert_eq!(ignored.toggle("qux"), Toggled::Seen("bar".to_owned()));
        assert_eq!(ignored.names().collect::<Vec<_>>(), ["Foo"]);
    }

    #[test]
    fn numbers_of_another_server_s_life_are_others() {
        let mut ignored = Ignored::new(["Bar".to_owned()]);
        ignored.meet(BAR, "Bar");
        ignored.meet(BAR, "Qux");
        ignored.settle(|_| false);
        ignored.meet(BAR, "Foo");
        assert_eq!(ignored.names().collect::<Vec<_>>(), ["Bar"]);
    }

    #[test]
    fn not_everybody_can_be_ignored() {
        let mut ignored = Ignored::new((0..).map(|number| format!("Foo {number}")).take(IGNORED + 1));
        assert_eq!(ignored.names().count(), IGNORED);
        assert_eq!(ignored.toggle("Bar"), Toggled::TooMany);
        assert_eq!(ignored.toggle("foo 3"), Toggled::Seen("Foo 3".to_owned()));
        assert_eq!(ignored.toggle("Bar"), Toggled::Ignored);
    }
}
