//! What a person typed, as a query that FTS5 cannot misunderstand.

/// Every word quoted, so that none is an operator; the last may be the beginning of one. Words in which there is nothing that the
/// index knows, such as marks of punctuation, count for nothing. `None` when there is no word at all.
pub(crate) fn fts_query(words: &str) -> Option<String> {
    let mut query = String::with_capacity(words.len() + 16);
    // A NUL would end the query for SQLite.
    for word in words.split(|c: char| c.is_whitespace() || c == '\0').filter(|word| !word.is_empty()) {
        query.push('"');
        query.push_str(&word.replace('"', "\"\""));
        query.push_str("\" ");
    }
    let ended = words.ends_with(char::is_whitespace);
    query.pop()?;
    if !ended {
        query.push('*');
    }
    Some(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_and_the_last_may_be_a_beginning() {
        assert_eq!(fts_query("foo bar").as_deref(), Some("\"foo\" \"bar\"*"));
        assert_eq!(fts_query(" foo \t").as_deref(), Some("\"foo\""));
        assert_eq!(fts_query("a OR \"b\0c").as_deref(), Some("\"a\" \"OR\" \"\"\"b\" \"c\"*"));
        assert_eq!(fts_query(""), None);
        assert_eq!(fts_query(" \0\n"), None);
    }
}
