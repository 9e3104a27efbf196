//! Servers that were joined before, offered to whoever names none.

use std::time::SystemTime;

use chinwag_proto::{limits, link::Link, text::escape};

use crate::memory::{Recent, is_same};

/// The list, a line for each server with a number before it.
pub(crate) fn list(recent: &[(Link, Recent)], now: SystemTime) -> String {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let line = |(at, (link, recent)): (usize, &(Link, Recent))| {
        let (place, name) = (escape(&short(link)).into_owned(), escape(&recent.name).into_owned());
        format!("{:3}  {place} as {name}, {}", at + 1, ago(now.saturating_sub(recent.last)))
    };
    recent.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

/// The server with this number, or the one that is named.
///
/// # Errors
/// Why it is none, for the user to read.
pub(crate) fn choose(
    recent: &[(Link, Recent)],
    answer: &str,
    named: impl Fn(&str) -> Result<Link, String>,
) -> Result<Link, String> {
    match answer.parse::<usize>() {
        Ok(number) => match number.checked_sub(1).and_then(|at| recent.get(at)) {
            Some((link, _)) => Ok(link.clone()),
            None => Err(format!("there is no {number} in the list")),
        },
        Err(_) => named(answer),
    }
}

/// The name that was last used in this room, or else on this server.
pub(crate) fn name<'a>(recent: &'a [(Link, Recent)], link: &Link) -> Option<&'a str> {
    let there = recent.iter().find(|(known, _)| is_same(known, link));
    let near = || recent.iter().find(|(known, _)| known.authority() == link.authority());
    there.or_else(near).map(|(_, recent)| recent.name.as_str())
}

/// A link as somebody would type it, without the proof.
fn short(link: &Link) -> String {
    let place = if link.port == limits::DEFAULT_PORT { link.host.clone() } else { link.authority() };
    match &link.room {
        Some(room) => format!("{place}/{room}"),
        None => place,
    }
}

/// How long ago, in the largest unit that fits.
fn ago(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..60 => return "just now".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn known() -> Vec<(Link, Recent)> {
        let recent = |link: &str, name: &str, last: u64| {
            let json = format!("{{\"link\": \"{link}\", \"name\": \"{name}\", \"last\": {last}}}");
            (Link::parse(link).unwrap(), serde_json::from_str(&json).unwrap())
        };
        let proof = "ab".repeat(32);
        vec![
            recent(&format!("chinwag://pub.example/attic#{proof}"), "Foo", 99_990),
            recent("[::1]:7", "Bar", 96_400),
            recent("pub.example", "Baz", 1),
        ]
    }

    #[test]
    fn servers_are_listed_by_number() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100_000);
        let expected = "  1  pub.example/attic as Foo, just now\n  2  [::1]:7 as Bar, 1 hour ago\n  3  pub.example as Baz, 1 day ago";
        assert_eq!(list(&known(), now), expected);
        // A clock that was set back is no trouble.
        assert!(list(&known(), SystemTime::UNIX_EPOCH).contains("Bar, just now"));
    }

    #[test]
    fn an_answer_is_a_number_or_a_server() {
        let (known, named) = (known(), |text: &str| Link::parse(text).map_err(|error| error.to_string()));
        assert_eq!(choose(&known, "1", named).unwrap(), known[0].0);
        assert_eq!(choose(&known, "b.example", named).unwrap().host, "b.example");
        for none in ["0", "4"] {
            assert_eq!(choose(&known, none, named).unwrap_err(), format!("there is no {none} in the list"));
        }
        assert!(choose(&known, "http://x", named).is_err());
    }

    #[test]
    fn the_name_is_the_one_of_the_room_or_of_the_server() {
        let name_at = |link: &str| name(&known(), &Link::parse(link).unwrap()).map(str::to_owned);
        assert_eq!(name_at("pub.example").as_deref(), Some("Baz"));
        assert_eq!(name_at("pub.example/attic").as_deref(), Some("Foo"));
        assert_eq!(name_at("pub.example/cellar").as_deref(), Some("Foo"));
        assert_eq!(name_at("other.example"), None);
    }
}
