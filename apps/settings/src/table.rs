//! The settings of a program, as its flags tell them, and what values each of them takes.

use std::error::Error as _;

use clap::{Arg, ArgAction, Args, Command, builder::BoolValueParser};

/// Flags that begin so are settings without it, the other way round.
const NO: &str = "no_";

/// Names that are more alike than this (1: the same) may be the same one with a slip in it, as `clap` has it for flags.
const LIKENESS: f64 = 0.7;

/// All settings of a program.
#[derive(Clone, Debug)]
pub struct Table {
    pub(crate) settings: Vec<Setting>,
    prefix: &'static str,
    hint: &'static str,
}

impl Table {
    /// The flags of `S` are the settings. Variables of the environment begin with `prefix`; `hint` says where all settings are
    /// listed. For each setting that has no default `examples` has a value that it could have.
    ///
    /// # Panics
    /// When one of these has none.
    pub fn of<S: Args>(
        prefix: &'static str,
        hint: &'static str,
        examples: &'static [(&'static str, &'static str)],
    ) -> Self {
        let flags = S::augment_args(Command::new("settings"));
        let flags = flags.get_arguments().filter(|arg| arg.get_long().is_some());
        Self { settings: flags.map(|arg| Setting::of(arg, examples)).collect(), prefix, hint }
    }

    /// The variable of the environment for a setting.
    pub(crate) fn variable(&self, key: &str) -> String {
        format!("{}{}", self.prefix, key.to_uppercase())
    }

    /// Variables among `names` that look like settings and are none, most likely by a slip. Only a warning can come of it:
    /// systems that run services put variables of their own there.
    pub fn strangers(&self, names: impl IntoIterator<Item = String>) -> Vec<String> {
        let names = names.into_iter().filter(|name| name.starts_with(self.prefix));
        names
            .filter(|name| self.settings.iter().all(|setting| self.variable(&setting.key) != *name))
            .collect()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// What is wrong with a key that is none.
    pub(crate) fn unknown(&self, key: &str) -> String {
        let likeness = |setting: &Setting| strsim::jaro(key, &setting.key);
        let likest = self.settings.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        match likest.filter(|likest| likeness(likest) > LIKENESS) {
            Some(Setting { key: likest, .. }) => {
                format!("there is no setting {key:?}; did you mean {likest}?")
            }
            None => format!("there is no setting {key:?}; {}", self.hint),
        }
    }

    /// The same command, and those below it, with `change` made to what belongs to a setting.
    pub(crate) fn on_each(&self, command: Command, change: &impl Fn(&Setting, Arg) -> Arg) -> Command {
        let change_arg =
            |arg: Arg| match self.settings.iter().find(|setting| arg.get_id() == setting.id.as_str()) {
                Some(setting) => change(setting, arg),
                None => arg,
            };
        command.mut_args(change_arg).mut_subcommands(|below| self.on_each(below, change))
    }
}

/// How values of a setting are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// True or false.
    Switch,
    /// The same, where the flag means false.
    Negated,
    /// One value.
    Single,
    /// Any number of them.
    List,
}

/// One setting.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// What `clap` knows it by.
    pub(crate) id: String,
    /// Its name in the file.
    pub(crate) key: String,
    /// Its flag, without the dashes.
    pub(crate) flag: String,
    pub(crate) kind: Kind,
    /// A value that it could have.
    example: Vec<String>,
    arg: Arg,
}

impl Setting {
    fn of(arg: &Arg, examples: &[(&str, &str)]) -> Self {
        let id = arg.get_id().to_string();
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let positive = id.strip_prefix(NO).filter(|_| is_switch);
        let kind = match (is_switch, positive) {
            (_, Some(_)) => Kind::Negated,
            (true, None) => Kind::Switch,
            (false, None) if matches!(arg.get_action(), ArgAction::Append) => Kind::List,
            (false, None) => Kind::Single,
        };
        let key = positive.unwrap_or(&id).to_owned();
        let flag = arg.get_long().unwrap_or_default().to_owned();
        let mut setting = Self { id, key, flag, kind, example: vec![], arg: arg.clone() };
        setting.example = setting.default();
        if setting.example.is_empty() {
            let known = examples.iter().find(|(key, _)| *key == setting.key);
            let (_, example) = known.unwrap_or_else(|| panic!("{} needs an example", setting.key));
            setting.example.push((*example).to_owned());
        }
        setting
    }

    /// What it does.
    pub(crate) fn help(&self) -> String {
        self.arg.get_help().map(ToString::to_string).unwrap_or_default()
    }

    /// What it is unless told otherwise; nothing for what has no value then.
    pub(crate) fn default(&self) -> Vec<String> {
        match self.kind {
            Kind::Switch => vec!["false".to_owned()],
            Kind::Negated => vec!["true".to_owned()],
            Kind::Single | Kind::List => {
                let values = self.arg.get_default_values().iter();
                values.map(|value| value.to_string_lossy().into_owned()).collect()
            }
        }
    }

    /// Values of the setting as values of its flag, and back.
    pub(crate) fn to_flag(&self, values: &[String]) -> Vec<String> {
        match self.kind {
            Kind::Negated => values.iter().map(|value| (value != "true").to_string()).collect(),
            Kind::Switch | Kind::Single | Kind::List => values.to_vec(),
        }
    }

    /// The values as they are written in the file.
    pub(crate) fn written(&self, values: &[String]) -> String {
        let all: Vec<_> = values.iter().map(|value| quoted(value)).collect();
        if self.kind == Kind::List { format!("[{}]", all.join(", ")) } else { all.join(", ") }
    }

    /// An example of how the setting is written in the file.
    pub(crate) fn example(&self) -> String {
        format!("{} = {}", self.key, self.written(&self.example))
    }

    /// What it can be, which `clap` tells of in no other error.
    fn choices(&self) -> String {
        let all = self.arg.get_possible_values();
        let names: Vec<_> = all.iter().map(clap::builder::PossibleValue::get_name).collect();
        format!("it is one of {}", names.join(", "))
    }

    /// What is said to such a value.
    ///
    /// # Errors
    /// Why it cannot be one of this setting.
    pub(crate) fn check(&self, value: &str) -> Result<(), String> {
        let command = Command::new("check").no_binary_name(true).arg(flag_with_value(self, self.arg.clone()));
        let told = command.try_get_matches_from([format!("--{}={value}", self.flag)]);
        let told = told
            .map(|_| ())
            .map_err(|error| error.source().map_or_else(|| self.choices(), ToString::to_string));
        told.map_err(|why| {
            format!("{} cannot be {value:?}: {why}; it is written like {}", self.key, self.example())
        })
    }
}

/// A switch that is on in the file can be turned off by its flag, too: `--stereo=false`.
pub(crate) fn flag_with_value(setting: &Setting, arg: Arg) -> Arg {
    match setting.kind {
        Kind::Switch | Kind::Negated => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .value_parser(BoolValueParser::new())
            .value_name("true|false")
            .default_missing_value("true")
            .default_value("false")
            .hide_default_value(true)
            .hide_possible_values(true),
        Kind::Single | Kind::List => arg,
    }
}

/// A value of TOML: numbers and truths as such, all else in quotes.
fn quoted(value: &str) -> String {
    let is_number = value.parse::<i64>().is_ok_and(|number| number.to_string() == value);
    if is_number || matches!(value, "true" | "false") {
        return value.to_owned();
    }
    let mut text = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text += &format!("\\u{:04X}", u32::from(c)),
            c => text.push(c),
        }
    }
    text + "\""
}
