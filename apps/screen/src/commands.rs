//! What a typed line means: something to say, or one of the few commands. One table tells how they are written, what they do and
//! where there are such.

use std::sync::LazyLock;

use strsim::osa_distance;

use crate::button::Button;

/// Letters in which a mistyped command may differ from the one that was meant.
const TYPOS: usize = 2;

/// A line, understood.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Line<'a> {
    /// Only white space.
    Nothing,
    /// The user leaves.
    Quit,
    /// The connection is made anew.
    Reconnect,
    /// What commands there are.
    Help,
    /// Who is here.
    Who,
    /// Nobody hears the user, or everybody again.
    Mute,
    /// The user does not hear somebody, or again.
    MuteOther(&'a str),
    /// The user hears nobody, or everybody again.
    Deafen,
    /// The user begins to talk, or ends.
    Talk,
    /// This is the key of push-to-talk from now on.
    TalkKey(Button),
    /// The user is heard when he speaks, or by push-to-talk.
    VoiceActivity,
    /// What microphones and speakers there are.
    Devices,
    /// The user speaks into another microphone, by its number, its name or a part of that.
    Input(&'a str),
    /// The same of a speaker.
    Output(&'a str),
    /// The user hears somebody by so many decibels louder.
    Volume(&'a str, f32),
    /// What stands in the conversation goes.
    Clear,
    /// What somebody says is not shown, or again; whose is not, where nobody is named.
    Ignore(Option<&'a str>),
    /// Finds these words; without any, on the full screen, where they stand before that.
    Search(&'a str),
    /// What was said earlier, so many messages if that is said.
    History(Option<usize>),
    /// Whether a bell is rung for mentions; turned over where it is not said.
    Bell(Option<bool>),
    /// The user goes into a room.
    Join(&'a str),
    /// He leaves a room, the one that he looks at where none is named.
    Part(Option<&'a str>),
    /// Which rooms there are.
    Rooms,
    /// He talks and listens in a room, the one that he looks at where none is named.
    VoiceRoom(Option<&'a str>),
    /// What the room is about; what it is to be about, if that is said: nothing where that is empty.
    Topic(Option<&'a str>),
    /// To somebody alone: his name, and what, if anything.
    Message(&'a str),
    /// What the user does.
    Act(&'a str),
    /// He is called otherwise from now on.
    Nick(&'a str),
    /// The same of a notification on the desktop.
    Notify(Option<bool>),
    /// A command without what it needs; how it is written.
    Incomplete(&'static str),
    /// A command with something behind it that takes nothing.
    TooMuch(&'static str),
    /// A command that there is only on the full screen, in plain lines.
    OnlyFull(&'static str),
    /// To be said, the second slash of a doubled one taken off.
    Say(&'a str),
    /// A slash with a word after it that is no command.
    Unknown(&'a str),
}

/// Which client a line is typed in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Plain lines.
    Lines,
    /// The full screen.
    Full,
}

/// A command in the table.
struct Command {
    /// With its slash.
    name: &'static str,
    arguments: &'static str,
    /// Short: there are two columns of them on a screen of the usual size.
    help: &'static str,
    /// There is such a command in plain lines, and on the full screen.
    is_for_lines: bool,
    is_for_full: bool,
    /// What it means with these arguments, which have no blanks around them; none if they are not what it takes.
    read: for<'a> fn(&'a str) -> Option<Line<'a>>,
    /// What is told about wrong arguments; without it the command takes none.
    form: Option<&'static str>,
}

const fn command(
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    read: for<'a> fn(&'a str) -> Option<Line<'a>>,
) -> Command {
    Command { name, arguments, help, is_for_lines: true, is_for_full: true, read, form: None }
}

const fn full(command: Command) -> Command {
    Command { is_for_lines: false, ..command }
}

/// Without arguments.
fn alone<'a>(rest: &str, line: Line<'a>) -> Option<Line<'a>> {
    rest.is_empty().then_some(line)
}

/// With any.
fn some(rest: &str) -> Option<&str> {
    Some(rest).filter(|rest| !rest.is_empty())
}

fn volume(rest: &str) -> Option<Line<'_>> {
    let (name, db) = rest.rsplit_once(char::is_whitespace)?;
    let db = db.parse().ok().filter(|db: &f32| db.is_finite())?;
    Some(Line::Volume(name.trim(), db))
}

fn history(rest: &str) -> Option<Line<'_>> {
    match rest {
        "" => Some(Line::History(None)),
        count => count.parse().ok().filter(|count| *count > 0).map(|count| Line::History(Some(count))),
    }
}

/// On, off, or the other way round.
fn switch(rest: &str) -> Option<Option<bool>> {
    match rest {
        "" => Some(None),
        "on" => Some(Some(true)),
        "off" => Some(Some(false)),
        _ => None,
    }
}

fn talk(rest: &str) -> Option<Line<'_>> {
    if rest.is_empty() { Some(Line::Talk) } else { rest.parse().ok().map(Line::TalkKey) }
}

/// In the order in which `/help` has them.
static COMMANDS: LazyLock<Vec<Command>> = LazyLock::new(|| {
    let form = |form, command| Command { form: Some(form), ..command };
    vec![
        command("/quit", "", "leave", |rest| alone(rest, Line::Quit)),
        form(
            "/join ROOM",
            command("/join", "ROOM", "go into a room, too", |rest| some(rest).map(Line::Join)),
        ),
        command("/part", "ROOM", "leave it, or this one", |rest| Some(Line::Part(some(rest)))),
        command("/rooms", "", "which rooms there are", |rest| alone(rest, Line::Rooms)),
        command("/voice", "ROOM", "talk there, or here", |rest| Some(Line::VoiceRoom(some(rest)))),
        command("/topic", "TEXT", "what this is about", |rest| {
            Some(Line::Topic(some(rest).map(|topic| if topic == "-" { "" } else { topic })))
        }),
        form(
            "/msg NAME TEXT, such as /msg Foo hello",
            command("/msg", "NAME TEXT", "say it to one alone", |rest| some(rest).map(Line::Message)),
        ),
        form(
            "/me TEXT, such as /me waves",
            command("/me", "TEXT", "tell what you do", |rest| some(rest).map(Line::Act)),
        ),
        form(
            "/nick NAME",
            command("/nick", "NAME", "be called otherwise", |rest| some(rest).map(Line::Nick)),
        ),
        command("/who", "", "who is here", |rest| alone(rest, Line::Who)),
        command("/mute", "", "be heard by nobody", |rest| alone(rest, Line::Mute)),
        command("/mute", "NAME", "do not hear somebody", |rest| some(rest).map(Line::MuteOther)),
        command("/deafen", "", "hear nobody", |rest| alone(rest, Line::Deafen)),
        form(
            "/volume NAME DB, such as /volume Foo -6",
            command("/volume", "NAME DB", "6 louder, -6 quieter", volume),
        ),
        form(
            "/ptt alone: keys to talk by are only on the full screen",
            Command {
                is_for_full: false,
                ..command("/ptt", "", "begin to talk, or stop", |rest| alone(rest, Line::Talk))
            },
        ),
        full(form(
            "/ptt, or /ptt KEY, such as /ptt F8: F1 to F12, or Ctrl with G, O, Q, R, S, T, V or X",
            command("/ptt", "KEY", "talk; by that key", talk),
        )),
        command("/vad", "", "be heard as you speak", |rest| alone(rest, Line::VoiceActivity)),
        command("/devices", "", "microphones, speakers", |rest| alone(rest, Line::Devices)),
        form(
            "/input with a number of /devices, a name or default",
            command("/input", "DEV", "speak into another one", |rest| some(rest).map(Line::Input)),
        ),
        form(
            "/output with a number of /devices, a name or default",
            command("/output", "DEV", "hear by another one", |rest| some(rest).map(Line::Output)),
        ),
        command("/ignore", "NAME", "do not see somebody", |rest| Some(Line::Ignore(some(rest)))),
        form(
            "/history or /history N, such as /history 50",
            command("/history", "N", "what was said earlier", history),
        ),
        form(
            "/search WORDS",
            Command {
                is_for_full: false,
                ..command("/search", "WORDS", "find where it was said", |rest| some(rest).map(Line::Search))
            },
        ),
        full(command("/search", "WORDS", "find where it was said", |rest| Some(Line::Search(rest)))),
        full(command("/clear", "", "empty the screen", |rest| alone(rest, Line::Clear))),
        full(form(
            "/bell on or /bell off",
            command("/bell", "on|off", "ring at your name", |rest| switch(rest).map(Line::Bell)),
        )),
        full(form(
            "/notify on or /notify off",
            command("/notify", "on|off", "tell the desktop, too", |rest| switch(rest).map(Line::Notify)),
        )),
        command("/reconnect", "", "connect anew, at once", |rest| alone(rest, Line::Reconnect)),
        command("/help", "", "see this", |rest| alone(rest, Line::Help)),
    ]
});

impl Command {
    fn is_in(&self, mode: Mode) -> bool {
        match mode {
            Mode::Lines => self.is_for_lines,
            Mode::Full => self.is_for_full,
        }
    }
}

impl<'a> Line<'a> {
    /// What `line` means where it is typed.
    pub fn parse(line: &'a str, mode: Mode) -> Self {
        match line.trim() {
            "" => Self::Nothing,
            "{quit}" => Self::Quit,
            command if command.starts_with("//") => Self::Say(command.get(1..).unwrap_or_default()),
            command if command.starts_with('/') => Self::command(command, mode),
            _ => Self::Say(line),
        }
    }

    fn command(line: &'a str, mode: Mode) -> Self {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let named = || COMMANDS.iter().filter(|command| command.name.eq_ignore_ascii_case(word));
        let here = || named().filter(|command| command.is_in(mode));
        let wrong = |command: &Command| command.form.map_or(Self::TooMuch(command.name), Self::Incomplete);
        here()
            .find_map(|command| (command.read)(rest.trim()))
            .or_else(|| here().next().map(wrong))
            .or_else(|| named().next().map(|command| Self::OnlyFull(command.name)))
            .unwrap_or(Self::Unknown(word))
    }
}

/// The commands, for whoever asks: how each is written, and what it does.
pub fn help(mode: Mode) -> impl Iterator<Item = (String, &'static str)> {
    let commands = COMMANDS.iter().filter(move |command| command.is_in(mode) && command.name != "/help");
    let written = commands.map(|command| {
        let way = match command.name {
            "/quit" => "{quit} or /quit".to_owned(),
            name => format!("{name} {}", command.arguments).trim_end().to_owned(),
        };
        (way, command.help)
    });
    written.chain([("//TEXT".to_owned(), "say what begins with /")])
}

/// The same in plain lines.
pub fn help_lines(mode: Mode) -> String {
    let lines: Vec<_> = help(mode).map(|(way, what)| format!("{way:<15}  {what}")).collect();
    lines.join("\n")
}

/// Commands that begin so, in any case, in the order of the alphabet.
pub(crate) fn beginning_with(prefix: &str, mode: Mode) -> Vec<&'static str> {
    let commands = COMMANDS.iter().filter(|command| command.is_in(mode)).map(|command| command.name);
    let prefix = prefix.to_lowercase();
    let mut found: Vec<_> = commands.filter(|name| name.starts_with(&prefix)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The command that was most likely meant by `word`.
pub fn nearest(word: &str, mode: Mode) -> Option<&'static str> {
    let word = word.to_lowercase();
    let commands = COMMANDS.iter().filter(|command| command.is_in(mode)).map(|command| command.name);
    if let Some(name) = commands.clone().find(|name| word.len() > 1 && name.starts_with(&word)) {
        return Some(name);
    }
    let near = commands.map(|name| (osa_distance(name, &word), name));
    // Of a short word too little would be left.
    near.filter(|(distance, _)| *distance <= TYPOS && distance + 1 < word.len()).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_what_is_to_be_said() {
        for (line, meaning) in [
            ("", Line::Nothing),
            ("/join the den", Line::Join("the den")),
            ("/join", Line::Incomplete("/join ROOM")),
            ("/part", Line::Part(None)),
            ("/part den", Line::Part(Some("den"))),
            ("/rooms", Line::Rooms),
            ("/voice", Line::VoiceRoom(None)),
            ("/topic", Line::Topic(None)),
            ("/topic tea and cake", Line::Topic(Some("tea and cake"))),
            ("/topic -", Line::Topic(Some(""))),
            ("/msg Foo Bar hello", Line::Message("Foo Bar hello")),
            (" /me waves ", Line::Act("waves")),
            ("/ME  waves", Line::Act("waves")),
            ("/MSG Foo Hello", Line::Message("Foo Hello")),
            ("/Quit", Line::Quit),
            ("/me", Line::Incomplete("/me TEXT, such as /me waves")),
            ("/nick Baz", Line::Nick("Baz")),
            ("/nick", Line::Incomplete("/nick NAME")),
            (" \t", Line::Nothing),
            ("{quit}", Line::Quit),
            (" /quit ", Line::Quit),
            ("/who", Line::Who),
            ("/help", Line::Help),
            ("/who else", Line::TooMuch("/who")),
            ("/WHO else", Line::TooMuch("/who")),
            ("/rooms x", Line::TooMuch("/rooms")),
            ("/vad x", Line::TooMuch("/vad")),
            ("/devices x", Line::TooMuch("/devices")),
            ("/help x", Line::TooMuch("/help")),
            ("/quit now", Line::TooMuch("/quit")),
            ("/mute", Line::Mute),
            ("/mute  Foo Bar ", Line::MuteOther("Foo Bar")),
            ("/deafen", Line::Deafen),
            ("/deafen now", Line::TooMuch("/deafen")),
            ("/ptt ", Line::Talk),
            ("/vad", Line::VoiceActivity),
            ("/volume Foo Bar -6.5", Line::Volume("Foo Bar", -6.5)),
            ("/volume Foo", Line::Incomplete("/volume NAME DB, such as /volume Foo -6")),
            ("/volume Foo NaN", Line::Incomplete("/volume NAME DB, such as /volume Foo -6")),
            ("/volumes", Line::Unknown("/volumes")),
            ("/devices", Line::Devices),
            ("/input 2", Line::Input("2")),
            ("/input  Built-in Mic ", Line::Input("Built-in Mic")),
            ("/output default", Line::Output("default")),
            ("/output", Line::Incomplete("/output with a number of /devices, a name or default")),
            ("/ignore Foo Bar", Line::Ignore(Some("Foo Bar"))),
            ("/ignore", Line::Ignore(None)),
            ("/reconnect", Line::Reconnect),
            ("/reconnect now", Line::TooMuch("/reconnect")),
            ("/history", Line::History(None)),
            ("/history 50", Line::History(Some(50))),
            ("/history 0", Line::Incomplete("/history or /history N, such as /history 50")),
            ("/history all", Line::Incomplete("/history or /history N, such as /history 50")),
            ("/search two words", Line::Search("two words")),
            ("/", Line::Unknown("/")),
            ("//", Line::Say("/")),
            ("//quit", Line::Say("/quit")),
            ("I {quit}", Line::Say("I {quit}")),
            ("  indented", Line::Say("  indented")),
            ("and/or", Line::Say("and/or")),
        ] {
            assert_eq!(Line::parse(line, Mode::Lines), meaning, "{line:?}");
            assert_eq!(Line::parse(line, Mode::Full), meaning, "{line:?}");
        }
    }

    #[test]
    fn what_is_about_the_screen_is_no_command_of_plain_lines() {
        for (line, meaning) in [
            ("/clear", Line::Clear),
            ("/clear all", Line::TooMuch("/clear")),
            ("/bell", Line::Bell(None)),
            ("/bell off", Line::Bell(Some(false))),
            ("/bell maybe", Line::Incomplete("/bell on or /bell off")),
            ("/notify on", Line::Notify(Some(true))),
            ("/notify", Line::Notify(None)),
        ] {
            assert_eq!(Line::parse(line, Mode::Full), meaning, "{line:?}");
            let word = line.split(' ').next().unwrap();
            assert_eq!(Line::parse(line, Mode::Lines), Line::OnlyFull(word), "{line:?}");
        }
        for (line, button) in [("/ptt f8", Button::Function(8)), ("/ptt ^T", Button::Control('t'))] {
            assert_eq!(Line::parse(line, Mode::Full), Line::TalkKey(button));
            let told = Line::parse(line, Mode::Lines);
            assert!(matches!(told, Line::Incomplete(form) if form.contains("only on the full screen")));
        }
    }

    #[test]
    fn a_key_that_cannot_be_one_to_talk_by_is_told_with_those_that_can() {
        let told = Line::parse("/ptt space", Mode::Full);
        assert!(matches!(told, Line::Incomplete(form) if form.contains("F1 to F12")), "{told:?}");
    }

    #[test]
    fn a_search_goes_on_only_where_something_is_looked_at() {
        assert_eq!(Line::parse("/search", Mode::Full), Line::Search(""));
        assert_eq!(Line::parse("/search", Mode::Lines), Line::Incomplete("/search WORDS"));
    }

    #[test]
    fn a_mistyped_command_is_guessed_if_it_is_near() {
        for (word, meant) in [
            ("/muet", Some("/mute")),
            ("/exit", Some("/quit")),
            ("/vol", Some("/volume")),
            ("/", None),
            ("/WHi", Some("/who")),
            ("/VOL", Some("/volume")),
            ("/nonsense", None),
        ] {
            assert_eq!(nearest(word, Mode::Lines), meant, "{word}");
        }
        assert_eq!(nearest("/cler", Mode::Full), Some("/clear"));
        assert_eq!(nearest("/cler", Mode::Lines), None);
    }

    #[test]
    fn every_command_is_in_the_help_and_can_be_completed() {
        let help: Vec<_> = help(Mode::Full).map(|(way, _)| way).collect();
        for name in beginning_with("/", Mode::Full) {
            assert!(name == "/help" || help.iter().any(|way| way.contains(name)), "{name}");
        }
        for prefix in ["/m", "/M"] {
            assert_eq!(beginning_with(prefix, Mode::Full), ["/me", "/msg", "/mute"]);
        }
        assert_eq!(beginning_with("/b", Mode::Lines), [""; 0]);
        insta::assert_snapshot!(help_lines(Mode::Lines));
    }
}
