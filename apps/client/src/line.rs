//! What a typed line means: something to say, or one of the few commands of the plain line mode.

/// The commands, for whoever asks.
pub(crate) const HELP: &str =
    "{quit} or /quit leaves, /who tells who is here, //TEXT says a line that begins with a slash";

/// A line, understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line<'a> {
    /// Only white space.
    Nothing,
    Quit,
    Help,
    Who,
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
            command if command.starts_with("//") => Self::Say(command.get(1..).unwrap_or_default()),
            command if command.starts_with('/') => {
                Self::Unknown(command.split_whitespace().next().unwrap_or_default())
            }
            _ => Self::Say(line),
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
