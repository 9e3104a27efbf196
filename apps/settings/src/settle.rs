//! Flags before the environment before the file before what is so by default.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fmt::{self, Write as _},
    io::{self, Write as _},
    path::PathBuf,
    process::exit,
};

use clap::{
    ArgMatches, CommandFactory, FromArgMatches,
    error::{ContextKind, ContextValue},
    parser::ValueSource,
};

use crate::{
    file::File,
    problem::Problems,
    table::{Kind, Setting, Table, flag_with_value},
};

/// Settings or flags are wrong.
const USAGE: i32 = 2;

/// Why a program cannot begin.
#[derive(Debug)]
pub enum Refusal {
    /// The flags are wrong, or help was asked for.
    Flags(clap::Error),
    /// Something else is wrong.
    Settings(Problems),
}

impl Refusal {
    /// The same, with more that is worth a look where settings are wrong.
    #[must_use]
    pub fn with(mut self, remarks: impl IntoIterator<Item = String>) -> Self {
        if let Self::Settings(problems) = &mut self {
            remarks.into_iter().for_each(|remark| problems.push(remark));
        }
        self
    }

    /// Ends the program: on standard error what is wrong, or on standard output the help that was asked for.
    pub fn exit(&self) -> ! {
        match self {
            Self::Flags(error) => error.exit(),
            Self::Settings(problems) => {
                // A closed standard error is no reason to end differently.
                let _ = writeln!(io::stderr(), "{problems}");
                exit(USAGE)
            }
        }
    }
}

impl From<clap::Error> for Refusal {
    /// What was given is told so that it cannot drive the terminal: it may have been copied from somewhere.
    fn from(mut error: clap::Error) -> Self {
        for kind in [ContextKind::InvalidValue, ContextKind::InvalidArg, ContextKind::InvalidSubcommand] {
            if let Some(ContextValue::String(given)) = error.get(kind)
                && given.contains(char::is_control)
            {
                let shown = given.escape_debug().to_string();
                error.insert(kind, ContextValue::String(shown));
            }
        }
        Self::Flags(error)
    }
}

impl From<Problems> for Refusal {
    fn from(problems: Problems) -> Self {
        Self::Settings(problems)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flags(error) => error.fmt(f),
            Self::Settings(problems) => problems.fmt(f),
        }
    }
}

/// Where the value of a setting comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Source {
    /// This flag.
    Flag(String),
    /// This variable of the environment.
    Environment(String),
    /// This `FILE:LINE:COLUMN`.
    File(String),
    /// Nobody said anything.
    Default,
}

impl Source {
    /// What to name when something is wrong with the setting `key`.
    fn blame(&self, key: &str) -> String {
        match self {
            Self::Flag(flag) => flag.clone(),
            Self::Environment(variable) => variable.clone(),
            Self::File(place) => format!("{place}: {key}"),
            Self::Default => key.to_owned(),
        }
    }
}

/// Where each setting has its value from, and what it is.
#[derive(Clone, Debug)]
pub struct Settled {
    table: Table,
    values: BTreeMap<String, (Source, Vec<String>)>,
    file: Option<PathBuf>,
}

impl Settled {
    /// The file that was read, if there was one.
    pub fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }

    /// Says what a setting is that nobody gave, where only the program knows that.
    pub fn suppose(&mut self, key: &str, value: String) {
        if let Some((Source::Default, values)) = self.values.get_mut(key) {
            *values = vec![value];
        }
    }

    /// Sees to it that the first of each two settings is given only with the second.
    ///
    /// # Errors
    /// Those that are given without.
    pub fn check_needs(&self, needs: &[(&str, &str)]) -> Result<(), Problems> {
        let mut problems = Problems::default();
        for (key, needed) in needs {
            if let Some(source) = self.given(key)
                && self.given(needed).is_none()
            {
                let dashed = needed.replace('_', "-");
                problems.push(format!(
                    "{} needs {needed}, too; give --{dashed} or set {needed} in the file",
                    source.blame(key)
                ));
            }
        }
        problems.or(())
    }

    /// Sees to it that the first of each three, a setting, is not given where the second, another one, has the third as its value.
    ///
    /// # Errors
    /// Those that would have no effect.
    pub fn check_idle(&self, idle: &[(&str, &str, &str)]) -> Result<(), Problems> {
        let mut problems = Problems::default();
        for (key, other, value) in idle {
            if let Some(source) = self.given(key)
                && let Some((cause, values)) = self.values.get(*other)
                && values == &[*value]
            {
                let cause = match cause {
                    Source::Default => String::new(),
                    Source::Flag(_) | Source::Environment(_) | Source::File(_) => {
                        format!(" ({})", cause.blame(other))
                    }
                };
                problems.push(format!(
                    "{} has no effect where {other} is {value}{cause}; remove one of the two",
                    source.blame(key)
                ));
            }
        }
        problems.or(())
    }

    /// Where the setting comes from, if it is anything else than it would be anyway.
    fn given(&self, key: &str) -> Option<&Source> {
        let (source, values) = self.values.get(key)?;
        let is_default = self.table.get(key).is_some_and(|setting| setting.default() == *values);
        (*source != Source::Default && !is_default).then_some(source)
    }
}

/// A line for each setting, as it could stand in the file, with where its value comes from.
impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![];
        for setting in &self.table.settings {
            let key = &setting.key;
            let Some((source, values)) = self.values.get(key) else { continue };
            let source = match source {
                Source::Flag(flag) => flag,
                Source::Environment(variable) => variable,
                Source::File(place) => place,
                Source::Default => "default",
            };
            lines.push(match values.is_empty() {
                true => (format!("# {key} is not set"), String::new()),
                false => (format!("{key} = {}", setting.written(values)), format!("# {source}")),
            });
        }
        let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for (line, source) in lines {
            let line = format!("{line:width$}  {source}");
            writeln!(text, "{}", line.trim_end())?;
        }
        f.write_str(&text)
    }
}

/// What this process was told. `file` says where the settings are, after a look at the flags.
///
/// # Errors
/// When anything of it is wrong.
pub fn settle<A: CommandFactory + FromArgMatches>(
    table: &Table,
    file: impl FnOnce(&A) -> Option<File>,
) -> Result<(A, Settled), Refusal> {
    settle_from(table, env::args_os(), |variable| env::var_os(variable), file)
}

/// The same of any arguments (the first is the program's name) and any environment.
///
/// # Errors
/// When anything of it is wrong.
pub fn settle_from<A: CommandFactory + FromArgMatches>(
    table: &Table,
    arguments: impl IntoIterator<Item = impl Into<OsString>>,
    environment: impl Fn(&str) -> Option<OsString>,
    file: impl FnOnce(&A) -> Option<File>,
) -> Result<(A, Settled), Refusal> {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let command = table.on_each(A::command(), &flag_with_value);
    let file = file(&A::from_arg_matches(&command.clone().try_get_matches_from(&arguments)?)?);

    let mut lasting = BTreeMap::new();
    let mut problems = Problems::default();
    let entries = file.as_ref().and_then(|file| file.read(table, &mut problems));
    let read = file.filter(|_| entries.is_some()).map(|file| file.path().to_owned());
    for entry in entries.unwrap_or_default() {
        lasting.insert(entry.key, (Source::File(entry.place), entry.values));
    }
    for setting in &table.settings {
        let variable = table.variable(&setting.key);
        // An empty one is as good as none, which is all that some can say who start a program.
        let Some(value) = environment(&variable).filter(|value| !value.is_empty()) else { continue };
        match from_environment(setting, &value.to_string_lossy()) {
            Ok(values) => drop(lasting.insert(setting.key.clone(), (Source::Environment(variable), values))),
            Err(why) => problems.push(format!("{variable}: {why}")),
        }
    }
    problems.or(())?;

    // What lasts takes the place of the defaults: `clap` knows that flags come before them.
    let command = table.on_each(command, &|setting, arg| match lasting.get(&setting.key) {
        Some((_, values)) => arg.default_values(setting.to_flag(values)),
        None => arg,
    });
    let matches = command.try_get_matches_from(&arguments)?;
    let flags = deepest(&matches, table);
    let mut values = BTreeMap::new();
    for setting in &table.settings {
        // A command may have some of the settings only.
        if !matches!(flags.try_contains_id(&setting.id), Ok(true)) {
            let (source, given) =
                lasting.remove(&setting.key).unwrap_or((Source::Default, setting.default()));
            values.insert(setting.key.clone(), (source, given));
            continue;
        }
        let raw = flags.get_raw(&setting.id).into_iter().flatten();
        let raw: Vec<_> = raw.map(|value| value.to_string_lossy().into_owned()).collect();
        let source = match flags.value_source(&setting.id) {
            Some(ValueSource::CommandLine) => Source::Flag(format!("--{}", setting.flag)),
            _ => lasting.remove(&setting.key).map_or(Source::Default, |(source, _)| source),
        };
        values.insert(setting.key.clone(), (source, setting.to_flag(&raw)));
    }
    let settled = Settled { table: table.clone(), values, file: read };
    Ok((A::from_arg_matches(&matches)?, settled))
}

/// The matches of the command that was given, if it has settings.
fn deepest<'a>(matches: &'a ArgMatches, table: &Table) -> &'a ArgMatches {
    let has_some = |matches: &ArgMatches| {
        table.settings.iter().any(|setting| matches.try_contains_id(&setting.id).is_ok())
    };
    match matches.subcommand() {
        Some((_, below)) if has_some(below) => deepest(below, table),
        _ => matches,
    }
}

/// The values in a variable: those of a list have commas between them, switches may be numbers or words.
fn from_environment(setting: &Setting, value: &str) -> Result<Vec<String>, String> {
    let values = match setting.kind {
        Kind::Switch | Kind::Negated => {
            let truth = match value.to_lowercase().as_str() {
                "1" | "true" | "yes" | "on" => true,
                "0" | "false" | "no" | "off" => false,
                _ => return Err(format!("{value:?} is neither true nor false")),
            };
            vec![truth.to_string()]
        }
        Kind::Single => vec![value.to_owned()],
        Kind::List => value.split(',').map(|value| value.trim().to_owned()).collect(),
    };
    values.iter().try_for_each(|value| setting.check(value))?;
    Ok(values)
}
