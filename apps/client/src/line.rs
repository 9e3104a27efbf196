//! What a typed line means: something to say, or one of the few commands of the plain line mode.

/// The commands, for whoever asks.
pub(crate) const HELP: &str = "\
{quit} or /quit  leave
/who             see who is here
/mute            be heard by nobody, or again
/mute NAME       do not hear somebody, or again
/deafen          hear nobody, or again
/volume NAME DB  hear somebody louder (6) or quieter (-6)
/ptt             begin to talk, or stop, with --gate ptt
//TEXT           say a line that begins with a slash";

/// A line, understood.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Line<'a> {
    /// Only white space.
    Nothing,
    Quit,
    Help,
    Who,
    /// Nobody hears the user, or everybody again.
    Mute,
    /// The user does not hear somebody, or again.
    MuteOther(&'a str),
    /// The user hears nobody, or everybody again.
    Deafen,
    /// The user begins to talk, or ends.
    Talk,
    /// The user hears somebody by so many decibels louder.
    Volume(&'a str, f32),
    /// A command without what it needs; how it is written.
    Incomplete(&'static str),
    /// To be said, the second slash of a doubled one taken off.
    Say(&'a str),
    /// A slash with a word after it that is no command.
    Unknown(&'a str),
}

impl<'a> Line<'a> {
    pub(crate) fn parse(line: &'a str) -> Self {
        match line.trim() {
            "" => Self::Nothing,
            "{quit}" | "/quit" => Self::Quit,
            "/help" => Self::Help,
            "/who" => Self::Who,
            "/mute" => Self::Mute,
            "/deafen" => Self::Deafen,
            "/ptt" => Self::Talk,
            command if command.starts_with("//") => Self::Say(command.get(1..).unwrap_or_default()),
            command if command.starts_with('/') => Self::about_others(command)
                .unwrap_or_else(|| Self::Unknown(command.split_whitespace().next().unwrap_or_default())),
            _ => Self::Say(line),
        }
    }

    /// The commands about one of the others, whose name may have spaces in it.
    fn about_others(line: &'a str) -> Option<Self> {
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match command {
            "/mute" => Some(Self::MuteOther(rest)),
            "/volume" => {
                let parts = rest.rsplit_once(char::is_whitespace);
                let volume = parts.and_then(|(name, db)| Some((name.trim(), db.parse::<f32>().ok()?)));
                Some(match volume.filter(|(_, db)| db.is_finite()) {
                    Some((name, db)) => Self::Volume(name, db),
                    None => Self::Incomplete("/volume NAME DB, such as /volume Foo -6"),
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_what_is_to_be_said() {
        for (line, meaning) in [
            ("", Line::Nothing),
            (" \t", Line::Nothing),
            ("{quit}", Line::Quit),
            (" /quit ", Line::Quit),
            ("/who", Line::Who),
            ("/help", Line::Help),
            ("/who else", Line::Unknown("/who")),
            ("/mute", Line::Mute),
            ("/mute  Foo Bar ", Line::MuteOther("Foo Bar")),
            ("/deafen", Line::Deafen),
            ("/deafen now", Line::Unknown("/deafen")),
            ("/ptt ", Line::Talk),
            ("/volume Foo Bar -6.5", Line::Volume("Foo Bar", -6.5)),
            ("/volume Foo", Line::Incomplete("/volume NAME DB, such as /volume Foo -6")),
            ("/volume Foo NaN", Line::Incomplete("/volume NAME DB, such as /volume Foo -6")),
            ("/volumes", Line::Unknown("/volumes")),
            ("/", Line::Unknown("/")),
            ("//", Line::Say("/")),
            ("//quit", Line::Say("/quit")),
            ("I {quit}", Line::Say("I {quit}")),
            ("  indented", Line::Say("  indented")),
            ("and/or", Line::Say("and/or")),
        ] {
            assert_eq!(Line::parse(line), meaning, "{line:?}");
        }
    }
}
