//! The tables, and how a file of an older program gets those of this one.
//!
//! A file says in its header that it is a history (`application_id`) and which of [`STEPS`] were taken (`user_version`). A step is
//! never changed once it was released; a new one is put at the end.

use rusqlite::Connection;

use crate::error::Fault;

/// "cwhi": says that a file is a history.
const APPLICATION: i32 = 0x6377_6869;

/// Each makes of a file of the version before one of its own; the first makes version 1.
const STEPS: &[&str] = &[
    // Rooms, and messages by number: see `place`. What is read of a message without its text comes before the text. `last` outlives
    // the message itself, so that no place is given out twice. `bytes` is the sum of all texts that are kept.
    "CREATE TABLE rooms (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        epoch INTEGER NOT NULL,
        last INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE messages (
        n INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        author BLOB NOT NULL,
        id INTEGER NOT NULL,
        name TEXT NOT NULL,
        text TEXT NOT NULL
    ) STRICT;",
    // The words of all texts, without the texts themselves. Case and accents do not count. Beginnings of up to three letters are words,
    // too: of longer ones there are not so many that the index would be slow to put their places together. What is forgotten leaves
    // the index at once (`secure-delete`); marking it as deleted would be quick, but words would stay, and SQLite looks such marks
    // up slowly where many row numbers in turn have one, as here.
    "CREATE VIRTUAL TABLE words USING fts5(
        text, content = '', columnsize = 0, prefix = '1 2 3', tokenize = 'unicode61 remove_diacritics 2'
    );
    INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
    INSERT INTO words (rowid, text) SELECT n, text FROM messages;",
    // What rooms are about.
    "CREATE TABLE topics (
        room INTEGER PRIMARY KEY,
        text TEXT NOT NULL,
        name TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;",
    // What the calendar said last, see `clock`.
    "CREATE TABLE clock (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        at INTEGER NOT NULL
    ) STRICT;
    INSERT INTO clock SELECT 1, max(at) FROM messages HAVING max(at) IS NOT NULL;",
    // How many entries were kept, ever: see `lock`. It only grows, whatever is forgotten.
    "CREATE TABLE entries (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        count INTEGER NOT NULL
    ) STRICT;",
];

/// The first version that counts entries.
const COUNTS_ENTRIES: u32 = 5;

/// The version of the files that this program writes.
pub(crate) fn latest() -> u32 {
    u32::try_from(STEPS.len()).expect("there are few")
}

/// The version of a file: 0 when nothing is in it.
///
/// # Errors
/// [`Fault::Foreign`] and [`Fault::Newer`], or that it cannot be read.
pub(crate) fn version(connection: &Connection) -> Result<u32, Fault> {
    let number = |sql| connection.query_row(sql, (), |row| row.get::<_, i64>(0));
    let (application, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    if (application, version) == (0, 0) && number("SELECT count(*) FROM sqlite_schema")? == 0 {
        return Ok(0);
    }
    // What is ours has both.
    let version = u32::try_from(version).unwrap_or(0);
    if application != i64::from(APPLICATION) || version == 0 {
        return Err(Fault::Foreign);
    }
    if version > latest() {
        return Err(Fault::Newer { found: version, known: latest() });
    }
    Ok(version)
}

/// How many entries were kept in a file of this version, ever.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn entries(connection: &Connection, version: u32) -> Result<u64, Fault> {
    if version < COUNTS_ENTRIES {
        return Ok(0);
    }
    Ok(connection.query_row("SELECT coalesce(sum(count), 0) FROM entries", (), |row| row.get(0))?)
}

/// Counts what is kept with this transaction: how many entries there were then, ever.
///
/// # Errors
/// When the file cannot be written to.
pub(crate) fn count_entries(transaction: &Connection, more: usize) -> Result<u64, Fault> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO entries VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET count = count + excluded.count RETURNING count",
    )?;
    Ok(statement.query_row((u64::try_from(more).unwrap_or(u64::MAX),), |row| row.get(0))?)
}

/// Takes the steps that a file of this version lacks, each wholly or not at all.
///
/// # Errors
/// When the file cannot be written to.
pub(crate) fn migrate(connection: &mut Connection, version: u32) -> Result<(), Fault> {
    for (number, step) in (1..).zip(STEPS).filter(|&(number, _)| number > version) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as a program that knew only these steps would have made it.
    fn of_version(version: usize) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        for step in &STEPS[..version] {
            connection.execute_batch(step).unwrap();
        }
        if version > 0 {
            connection.pragma_update(None, "application_id", APPLICATION).unwrap();
        }
        connection.pragma_update(None, "user_version", version as i64).unwrap();
        connection
    }

    #[test]
    fn files_of_all_older_programs_become_as_new_ones_and_lose_nothing() {
        let tables = |connection: &Connection| -> Vec<(String, Option<String>)> {
            let mut statement =
                connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
            statement
                .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap()
                .map(Result::unwrap)
                .collect()
        };
        let new = tables(&of_version(STEPS.len()));
        for version in 0..STEPS.len() {
            let mut connection = of_version(version);
            if version > 0 {
                connection
                    .execute_batch(
                        "INSERT INTO rooms VALUES (1, 'lobby', 5, 2, 7);
                         INSERT INTO messages VALUES (1 << 40 | 1, 0, x'00', 1, 'Foo', 'Hello');
                         INSERT INTO messages VALUES (1 << 40 | 2, 5, x'00', 2, 'Foo', 'Élan');",
                    )
                    .unwrap();
            }
            if version > 1 {
                let sql = "INSERT INTO words (rowid, text) SELECT n, text FROM messages";
                connection.execute_batch(sql).unwrap();
            }
            if version > 3 {
                connection.execute_batch("INSERT INTO clock VALUES (1, 5)").unwrap();
            }
            assert_eq!(self::version(&connection).unwrap(), version as u32);
            assert_eq!(entries(&connection, version as u32).unwrap(), 0);
            migrate(&mut connection, version as u32).unwrap();
            assert_eq!(self::version(&connection).unwrap(), latest());
            assert_eq!(tables(&connection), new);
            let found: i64 = connection
                .query_row("SELECT count(*) FROM words WHERE words MATCH 'hello OR elan'", (), |row| {
                    row.get(0)
                })
                .unwrap();
            assert_eq!(found, if version > 0 { 2 } else { 0 });
            let clock: i64 =
                connection.query_row("SELECT coalesce(sum(at), 0) FROM clock", (), |row| row.get(0)).unwrap();
            assert_eq!(clock, if version > 0 { 5 } else { 0 }, "of the latest message");
        }
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_as_it_was() {
        let mut connection = of_version(1);
        connection.execute_batch("CREATE TABLE words_data (in_the_way)").unwrap();
        migrate(&mut connection, 1).unwrap_err();
        assert_eq!(version(&connection).unwrap(), 1);
        connection.execute_batch("DROP TABLE words_data").unwrap();
        migrate(&mut connection, 1).unwrap();
    }

    #[test]
    fn what_has_one_mark_only_is_not_ours() {
        for sql in [
            "PRAGMA user_version = 1",
            "CREATE TABLE t (x)",
            &format!("PRAGMA application_id = {APPLICATION}"),
        ] {
            let connection = of_version(0);
            connection.execute_batch(sql).unwrap();
            assert!(matches!(version(&connection), Err(Fault::Foreign)), "{sql}");
        }
        let connection = of_version(STEPS.len());
        connection.pragma_update(None, "user_version", -1).unwrap();
        assert!(matches!(version(&connection), Err(Fault::Foreign)));
    }
}
