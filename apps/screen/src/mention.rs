//! Whether a text has somebody's name in it.

/// True if `name` stands in `text` as words of their own, whatever their case.
pub(crate) fn has_name(text: &str, name: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.trim().to_lowercase());
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    !name.is_empty()
        && text.match_indices(&name).any(|(at, found)| {
            let before = text[..at].chars().next_back();
            let behind = text[at + found.len()..].chars().next();
            !before.is_some_and(is_of_word) && !behind.is_some_and(is_of_word)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_mention_where_it_is_a_word() {
        for (text, is_so) in [
            ("Foo: hello", true),
            ("hello foo", true),
            ("(FOO)", true),
            ("@foo!", true),
            ("food", false),
            ("snafoo", false),
            ("foo_bar", false),
            ("food, foo", true),
            ("", false),
        ] {
            assert_eq!(has_name(text, "Foo"), is_so, "{text}");
        }
        assert!(has_name("hi Foo Bar.", "foo bar"));
        assert!(has_name("Ärger mit ÄNNE?", "Änne"));
        assert!(!has_name("anything", " "));
    }
}
