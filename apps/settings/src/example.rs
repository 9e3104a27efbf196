//! A file with every setting, commented out, made from the table so that it says what is so.

use crate::table::{Kind, Setting, Table};

/// The longest line of an explanation, in characters, unless a word is longer.
const COLUMNS: usize = 100;

impl Table {
    /// The text of such a file; `head` is its first comment.
    pub fn example(&self, head: &str) -> String {
        let variable = self.settings.first().map(|setting| (self.variable(&setting.key), setting));
        let order = variable.map_or_else(String::new, |(variable, Setting { key, flag, .. })| {
            format!("Flags (--{flag}) come before the environment ({variable}), and that before this file ({key}).")
        });
        let mut text =
            [head, &order, "Take the # away from a line to put it in force."].map(comment).concat();
        for setting in &self.settings {
            let help = match setting.kind {
                Kind::Negated => format!("false: {}", setting.help()),
                Kind::Switch | Kind::Single | Kind::List => setting.help(),
            };
            let unset = match setting.default().is_empty() {
                // It says by itself what is so then.
                true if help.ends_with(']') => ".",
                true => ". Not set by default.",
                false => ".",
            };
            text += &format!("\n{}#{}\n", comment(&(help + unset)), setting.example());
        }
        text
    }
}

/// Lines that begin with `# `.
fn comment(text: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::from("#"));
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS && line != "#" {
            lines += &std::mem::replace(&mut line, String::from("#"));
            lines.push('\n');
        }
        line += " ";
        line += word;
    }
    lines + &line + "\n"
}
