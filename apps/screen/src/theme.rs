//! How things look: in the terminal's own colours, or without any.

use ratatui_core::style::{Color, Modifier, Style};

/// For what background.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Theme {
    /// Light letters on dark.
    Dark,
    /// Dark letters on light.
    Light,
    /// Without colours, only bold, dim and reverse.
    Plain,
}

/// What is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look<'a> {
    Text,
    Time,
    /// Who says something.
    Name(&'a str),
    Own,
    Private,
    Presence,
    Notice,
    Missed,
    Mention,
    /// What is typed and not said yet.
    Pending,
    /// Lines between what belongs together.
    Rule,
    /// The line above what is new.
    Unread,
    Status,
    /// What the user must see in the status line.
    Alert,
    Speaking,
    /// The room that is looked at.
    Current,
    /// What was looked for.
    Found,
    Title,
}

const DARK: [Color; 8] = [
    Color::Cyan,
    Color::Green,
    Color::Yellow,
    Color::Magenta,
    Color::LightBlue,
    Color::LightGreen,
    Color::LightMagenta,
    Color::LightCyan,
];
const LIGHT: [Color; 4] = [Color::Blue, Color::Magenta, Color::Red, Color::Green];

impl Theme {
    pub(crate) fn style(self, look: Look<'_>) -> Style {
        let style = match look {
            Look::Text => Style::new(),
            Look::Time | Look::Rule | Look::Pending | Look::Presence => {
                Style::new().add_modifier(Modifier::DIM)
            }
            Look::Name(name) => self.coloured(self.of_name(name)).add_modifier(Modifier::BOLD),
            Look::Own | Look::Current => Style::new().add_modifier(Modifier::BOLD),
            Look::Private => self.coloured(Color::Magenta),
            Look::Notice => self.coloured(self.pick(Color::LightBlue, Color::Blue)),
            Look::Missed => self.coloured(Color::Red),
            Look::Mention => self.coloured(self.pick(Color::Yellow, Color::Red)).add_modifier(Modifier::BOLD),
            Look::Unread => self.coloured(Color::Red),
            Look::Status | Look::Title => Style::new().add_modifier(Modifier::REVERSED),
            Look::Alert => self.coloured(Color::Red).add_modifier(Modifier::REVERSED | Modifier::BOLD),
            Look::Speaking => self.coloured(Color::Green).add_modifier(Modifier::BOLD),
            Look::Found => Style::new().add_modifier(Modifier::REVERSED),
        };
        // Where colours would make it stand out, something else must.
        if self == Self::Plain && matches!(look, Look::Private | Look::Missed | Look::Unread) {
            style.add_modifier(Modifier::BOLD)
        } else {
            style
        }
    }

    fn coloured(self, colour: Color) -> Style {
        if self == Self::Plain { Style::new() } else { Style::new().fg(colour) }
    }

    fn pick(self, dark: Color, light: Color) -> Color {
        if self == Self::Light { light } else { dark }
    }

    /// Always the same for one name.
    fn of_name(self, name: &str) -> Color {
        let sum = name.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let of = |colours: &[Color]| colours.get(sum % colours.len()).copied().unwrap_or_default();
        if self == Self::Light { of(&LIGHT) } else { of(&DARK) }
    }
}
