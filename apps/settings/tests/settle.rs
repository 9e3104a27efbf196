//! A small program with one setting of each kind.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

use std::{ffi::OsString, fs, path::PathBuf};

use chinwag_settings::{File, Settled, Table, settle_from, whole};
use clap::{Args, Parser, Subcommand};
use tempfile::TempDir;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Below>,
    #[command(flatten)]
    settings: Settings,
    /// No setting.
    #[arg(long)]
    once: bool,
}

#[derive(Debug, Subcommand)]
enum Below {
    Some {
        #[arg(long)]
        name: Option<String>,
    },
    None,
}

#[derive(Debug, Args)]
struct Settings {
    /// Where to listen
    #[arg(long, value_name = "PORT", default_values_t = [1], value_parser = whole::<u16>(0..=u16::MAX))]
    listen: Vec<u16>,
    /// How many may come
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = whole::<u32>(1..=100))]
    max_guests: u32,
    /// Who you are
    #[arg(long, value_parser = short)]
    name: Option<String>,
    /// Makes noise
    #[arg(long)]
    loud: bool,
    /// Leaves everything as it is
    #[arg(long)]
    no_care: bool,
}

struct World {
    folder: TempDir,
    environment: Vec<(&'static str, &'static str)>,
}

impl World {
    fn new(file: &str, environment: &[(&'static str, &'static str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file.toml"), file).unwrap();
        Self { folder, environment: environment.to_vec() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("file.toml")
    }

    fn settle(&self, flags: &[&str]) -> Result<(Arguments, Settled), String> {
        let environment = |name: &str| {
            self.environment.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        let arguments = ["program"].iter().chain(flags);
        settle_from(&table(), arguments, environment, |_: &Arguments| Some(File::Usual(self.file())))
            .map_err(|refusal| refusal.to_string().replace(self.folder.path().to_str().unwrap(), "DIR"))
    }

    /// The listing without the spaces that align it.
    fn listing(&self, flags: &[&str]) -> Vec<String> {
        let (_, settled) = self.settle(flags).unwrap();
        let listing = settled.to_string().replace(self.folder.path().to_str().unwrap(), "DIR");
        listing.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }
}

fn short(name: &str) -> Result<String, String> {
    if name.len() < 9 { Ok(name.to_owned()) } else { Err("too long".to_owned()) }
}

fn table() -> Table {
    Table::of::<Settings>("TRY_", "ask somebody", &[("name", "Foo")])
}

#[test]
fn flags_come_before_the_environment_before_the_file_before_defaults() {
    let all = World::new(
        "max_guests = 2\nname = 'file'\nloud = true\ncare = false\n",
        &[("TRY_MAX_GUESTS", "3"), ("TRY_LOUD", "no")],
    );
    let (arguments, _) = all.settle(&["--max-guests", "4", "--no-care=false", "--once"]).unwrap();
    let Settings { listen, max_guests, name, loud, no_care } = arguments.settings;
    assert_eq!(
        (listen, max_guests, name.as_deref(), loud, no_care),
        (vec![1], 4, Some("file"), false, false)
    );
    assert!(arguments.once);
    assert_eq!(all.settle(&[]).unwrap().0.settings.max_guests, 3);
    let listing = all.listing(&["--no-care"]);
    let expected = [
        "listen = [1] # default",
        "max_guests = 3 # TRY_MAX_GUESTS",
        "name = \"file\" # DIR/file.toml:2:1",
        "loud = false # TRY_LOUD",
        "care = false # --no-care",
    ];
    assert_eq!(listing, expected);
    assert_eq!(World::new("", &[]).listing(&["--loud"])[2..4], ["# name is not set", "loud = true # --loud"]);
}

#[test]
fn a_list_is_taken_from_one_place_alone() {
    let world = World::new("listen = [7, 0x10, 1_000]", &[("TRY_LISTEN", "5, 6")]);
    let listen = |world: &World, flags: &[&str]| world.settle(flags).unwrap().0.settings.listen;
    assert_eq!(listen(&world, &["--listen", "8", "--listen", "9"]), [8, 9]);
    assert_eq!(listen(&world, &[]), [5, 6]);
    let world = World::new("listen = [7, 0x10, 1_000]", &[("TRY_LISTEN", "")]);
    assert_eq!(listen(&world, &[]), [7, 16, 1000]);
    assert_eq!(listen(&World::new("listen = 7", &[]), &[]), [7]);
}

#[test]
fn commands_that_know_a_setting_get_it() {
    let world = World::new("name = 'Foo'\nmax_guests = 3", &[]);
    let named = |flags: &[&str]| match world.settle(flags).unwrap().0.command {
        Some(Below::Some { name }) => name,
        Some(Below::None) | None => None,
    };
    assert_eq!(named(&["some"]).as_deref(), Some("Foo"));
    assert_eq!(named(&["some", "--name", "Bar"]).as_deref(), Some("Bar"));
    assert_eq!(world.listing(&["none"])[1], "max_guests = 3 # DIR/file.toml:2:1");
    assert_eq!(world.listing(&["some", "--name", "Bar"])[2], "name = \"Bar\" # --name");
}

#[test]
fn all_that_is_wrong_is_told_with_where_it_is_and_what_to_do() {
    let world = World::new(
        "# A comment.\nmax_guest = 3\n  max_guests = 0\nloud = \"yes\"\nname = true\nlisten = [80, 'x', [1]]\n\
         [care]\nx = 1\n[zzz]\n",
        &[("TRY_MAX_GUESTS", "many"), ("TRY_CARE", "perhaps")],
    );
    let told = world.settle(&[]).unwrap_err();
    let expected = "\
DIR/file.toml:2:1: there is no setting \"max_guest\"; did you mean max_guests?
DIR/file.toml:3:16: max_guests cannot be \"0\": it is a whole number from 1 to 100; it is written like max_guests = 10
DIR/file.toml:4:8: loud must be true or false, without quotes; it is written like loud = false
DIR/file.toml:5:8: name cannot be true or false; it is written like name = \"Foo\"
DIR/file.toml:6:15: listen cannot be \"x\": it is a whole number from 0 to 65535; it is written like listen = [1]
DIR/file.toml:6:20: listen must be a single value; it is written like listen = [1]
DIR/file.toml:7:1: care must be true or false, without quotes; it is written like care = true
DIR/file.toml:9:2: there is no setting \"zzz\"; ask somebody
TRY_MAX_GUESTS: max_guests cannot be \"many\": it is a whole number from 1 to 100; it is written like max_guests = 10
TRY_CARE: \"perhaps\" is neither true nor false";
    assert_eq!(told.lines().collect::<Vec<_>>(), expected.lines().collect::<Vec<_>>());
    let told = World::new("max_guests = 1\nmax_guests = 2", &[]).settle(&[]).unwrap_err();
    assert_eq!(told, "DIR/file.toml:2:1: duplicate key");
    // What is no matter of its type.
    let told = World::new("name = 'somebody else'", &[]).settle(&["some"]).unwrap_err();
    assert!(told.starts_with("DIR/file.toml:1:8: name cannot be \"somebody else\": too long"), "{told}");
    let told = World::new("", &[]).settle(&["--name", "somebody else"]).unwrap_err();
    assert!(told.contains("too long"), "{told}");
    // What is no TOML at all is told first, alone; columns are characters.
    let told = World::new("max_guests = 0\nname = 'é' x", &[]).settle(&[]).unwrap_err();
    assert_eq!(told, "DIR/file.toml:2:12: unexpected key or value, expected newline, `#`");
    assert_eq!(
        World::new("listen = []", &[]).settle(&[]).unwrap_err(),
        "DIR/file.toml:1:10: listen must have a value; it is written like listen = [1]"
    );
    for given in ["101", "many", "1.5", "-1", "", "99999999999999999999"] {
        let told = World::new("", &[]).settle(&[&format!("--max-guests={given}")]).unwrap_err();
        assert!(told.contains("it is a whole number from 1 to 100"), "{told}");
    }
}

#[test]
fn a_named_file_must_be_there_and_the_usual_one_need_not() {
    let world = World::new("", &[]);
    let settle = |file| settle_from(&table(), ["program"], |_| None, |_: &Arguments| Some(file));
    let none = world.folder.path().join("none");
    assert_eq!(settle(File::Usual(none.clone())).unwrap().1.file(), None);
    assert_eq!(settle(File::Usual(world.file())).unwrap().1.file(), Some(&world.file()));
    assert!(settle(File::Named(none)).unwrap_err().to_string().contains("none: the settings cannot be read"));
    assert!(settle(File::Usual(world.file().join("below a file"))).is_ok());
    // A folder is there and cannot be read.
    assert!(settle(File::Usual(world.folder.path().to_owned())).is_err());
}

#[test]
fn a_setting_that_needs_another_is_refused_without_wherever_both_come_from() {
    let world = World::new("name = 'Foo'", &[]);
    let needs = |world: &World, flags: &[&str]| {
        world.settle(flags).unwrap().1.check_needs(&[("name", "loud"), ("loud", "care")])
    };
    let told = needs(&world, &[]).unwrap_err().to_string();
    assert!(
        told.ends_with("file.toml:1:1: name needs loud, too; give --loud or set loud in the file"),
        "{told}"
    );
    assert!(needs(&world, &["--loud", "--no-care"]).is_ok());
    let told = needs(&World::new("", &[("TRY_LOUD", "1")]), &["--name", "x"]).unwrap_err().to_string();
    assert!(told.starts_with("TRY_LOUD needs care, too"), "{told}");
    assert!(needs(&World::new("", &[]), &[]).is_ok());
}

#[test]
fn an_example_has_every_setting_and_says_what_is_so_without_it() {
    let example = table().example("Settings of program.");
    assert!(example.contains("\n# false: Leaves everything as it is.\n#care = true\n"), "{example}");
    assert!(example.contains("Not set by default.\n#name = \"Foo\"\n"), "{example}");
    let in_force: String = example
        .lines()
        .filter(|line| !line.starts_with("# "))
        .map(|line| line.trim_start_matches('#').to_owned() + "\n")
        .collect();
    let listing = |text: &str| World::new(text, &[]).listing(&[]);
    let value = |line: &String| line.split(" # ").next().unwrap().to_owned();
    let (mut with, mut without) = (listing(&in_force), listing(&example));
    assert!(with.iter().all(|line| line.contains("file.toml")), "{with:#?}");
    assert_eq!((with.remove(2), without.remove(2).as_str()).1, "# name is not set");
    assert_eq!(with.iter().map(value).collect::<Vec<_>>(), without.iter().map(value).collect::<Vec<_>>());
}

#[test]
#[should_panic(expected = "name needs an example")]
fn a_setting_without_a_default_has_an_example() {
    Table::of::<Settings>("TRY_", "ask somebody", &[("nam", "Foo")]);
}

#[test]
fn variables_that_only_look_like_settings_are_found() {
    let names = ["TRY_NAME", "TRY_NAMES", "TRYING", "TRY_CARE", "TRY_NO_CARE"].map(str::to_owned);
    assert_eq!(table().strangers(names), ["TRY_NAMES", "TRY_NO_CARE"]);
}

#[test]
fn what_is_given_cannot_drive_the_terminal() {
    for flag in
        ["--name=a\u{1b}[2J, which is too long", "--a\u{1b}[2J", "--max-guests=\u{1b}[2J", "a\u{1b}[2J"]
    {
        let told = World::new("", &[]).settle(&[flag]).map(drop).unwrap_err();
        assert!(told.contains("\\u{1b}[2J") && !told.contains('\u{1b}'), "{told}");
    }
}
