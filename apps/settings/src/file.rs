//! A file of settings: TOML, a line for each of them.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    problem::Problems,
    table::{Kind, Setting, Table},
};

/// Where the settings are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum File {
    /// Somebody named this one, so that it must be there.
    Named(PathBuf),
    /// It is looked at if it is there.
    Usual(PathBuf),
}

/// What a file says of one setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) values: Vec<String>,
    /// `FILE:LINE:COLUMN`.
    pub(crate) place: String,
}

impl File {
    pub(crate) fn path(&self) -> &Path {
        let (Self::Named(path) | Self::Usual(path)) = self;
        path
    }

    /// What is in it; `None` where there is no file and need not be one.
    pub(crate) fn read(&self, table: &Table, problems: &mut Problems) -> Option<Vec<Entry>> {
        let path = self.path().display().to_string();
        match (fs::read_to_string(self.path()), self) {
            (Ok(text), _) => Some(entries(&path, &text, table, problems)),
            (Err(error), Self::Usual(_))
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                None
            }
            (Err(error), _) => {
                problems.push(format!("{path}: the settings cannot be read: {error}"));
                None
            }
        }
    }
}

/// The entries that are well, in the order of the file.
fn entries(path: &str, text: &str, table: &Table, problems: &mut Problems) -> Vec<Entry> {
    let at = |span: Range<usize>| format!("{path}:{}", position(text, span.start));
    let (entries, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What was meant is not known, so that nothing else is said about it.
        for error in errors {
            let what = error.message().replace('\n', ", ");
            problems.push(format!("{}: {what}", at(error.span().unwrap_or_default())));
        }
        return vec![];
    }
    let mut entries: Vec<_> = entries.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut known = vec![];
    for (key, value) in entries {
        let name = key.get_ref().as_ref();
        let Some(setting) = table.get(name) else {
            problems.push(format!("{}: {}", at(key.span()), table.unknown(name)));
            continue;
        };
        match values(setting, value) {
            Ok(values) => known.push(Entry { key: name.to_owned(), values, place: at(key.span()) }),
            Err(wrong) => {
                wrong.into_iter().for_each(|(span, what)| problems.push(format!("{}: {what}", at(span))))
            }
        }
    }
    known
}

/// The values of a setting, or where they are wrong and why.
fn values(
    setting: &Setting,
    value: &Spanned<DeValue<'_>>,
) -> Result<Vec<String>, Vec<(Range<usize>, String)>> {
    let wrong = |span, what: &str| {
        (span, format!("{} {what}; it is written like {}", setting.key, setting.example()))
    };
    let items = match (setting.kind, value.get_ref()) {
        (Kind::List, DeValue::Array(items)) if items.is_empty() && !setting.default().is_empty() => {
            return Err(vec![wrong(value.span(), "must have a value")]);
        }
        (Kind::List, DeValue::Array(items)) => items.iter().collect(),
        _ => vec![value],
    };
    let is_switch = matches!(setting.kind, Kind::Switch | Kind::Negated);
    let (mut values, mut problems) = (vec![], vec![]);
    for item in items {
        match (is_switch, plain(item.get_ref())) {
            (true, _) if !item.get_ref().is_bool() => {
                problems.push(wrong(item.span(), "must be true or false, without quotes"));
            }
            (false, _) if item.get_ref().is_bool() => {
                problems.push(wrong(item.span(), "cannot be true or false"));
            }
            (_, None) => problems.push(wrong(item.span(), "must be a single value")),
            (_, Some(text)) => match setting.check(&text) {
                Ok(()) => values.push(text),
                Err(why) => problems.push((item.span(), why)),
            },
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

/// A value as a flag would be given it; `None` for what is several.
fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) => Some(number.to_string()),
            // Too large for anything; whoever checks it says so.
            Err(_) => Some(digits.as_str().to_owned()),
        },
        DeValue::Float(digits) => Some(digits.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// `LINE:COLUMN` of a byte, both from 1.
fn position(text: &str, byte: usize) -> String {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{line}:{column}")
}
