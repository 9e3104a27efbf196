//! The keyboard of whoever sits at the server (`--console`): what is typed is said to everybody, or is an order.

use chinwag_proto::text::check_message;
use chinwag_terminal::{Keyboard, Terminal, Typed};
use chinwag_transport_mio::server::{OperatorHandle, Order};

use crate::console::Console;

const HELP: [&str; 5] = [
    "what you type is said to everybody, as the server",
    "/who         tells who is here",
    "/kick NAME   removes somebody; he may come back",
    "/quit        stops the server, as quit and Ctrl-C do",
    "/help        tells this; a line that begins with // is said with one of them",
];

/// What a typed line means.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Meaning {
    Order(Order),
    /// Lines to be shown.
    Answer(Vec<String>),
    Nothing,
}

/// Reads the keyboard in a thread of its own, which ends with the process.
pub(crate) fn listen(terminal: &Terminal, server: OperatorHandle, console: Console) {
    // What is said comes back as everybody sees it.
    let is_said = |line: &str| matches!(meaning(line), Meaning::Order(Order::Say(_)) | Meaning::Nothing);
    terminal.set_in(true);
    Keyboard::new(terminal).listen(is_said, move |typed| {
        let meaning = match &typed {
            Typed::Line(line) => meaning(line),
            Typed::Unusable(why) => Meaning::Answer(vec![(*why).to_owned()]),
            // The server goes on without a keyboard.
            Typed::End => Meaning::Nothing,
        };
        match meaning {
            Meaning::Order(order) => return server.give(order).is_ok(),
            Meaning::Answer(lines) => lines.iter().for_each(|line| console.line(line)),
            Meaning::Nothing => {}
        }
        true
    });
}

fn meaning(line: &str) -> Meaning {
    let line = line.trim();
    let say = |text: &str| match check_message(text) {
        Ok(()) => Meaning::Order(Order::Say(text.to_owned())),
        Err(why) => Meaning::Answer(vec![why.to_string()]),
    };
    match line.split_once(char::is_whitespace).map_or((line, ""), |(word, rest)| (word, rest.trim())) {
        ("", _) => Meaning::Nothing,
        ("quit" | "{quit}" | "/quit", "") => Meaning::Order(Order::Stop),
        ("/who", "") => Meaning::Order(Order::Who),
        ("/help", "") => Meaning::Answer(HELP.map(str::to_owned).to_vec()),
        ("/kick", "") => Meaning::Answer(vec!["whom? /kick NAME; /who tells who is here".to_owned()]),
        ("/kick", name) => Meaning::Order(Order::Remove(name.to_owned())),
        (word, _) if word.starts_with("//") => say(line.get(1..).unwrap_or_default()),
        (word, _) if word.starts_with('/') => {
            Meaning::Answer(vec![format!("there is no {word}; /help tells what there is")])
        }
        _ => say(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_orders_or_are_said() {
        let said = |text: &str| Meaning::Order(Order::Say(text.to_owned()));
        for (line, expected) in [
            ("hello there ", said("hello there")),
            ("//who", said("/who")),
            ("quit smoking", said("quit smoking")),
            ("quit", Meaning::Order(Order::Stop)),
            ("/quit", Meaning::Order(Order::Stop)),
            (" /who", Meaning::Order(Order::Who)),
            ("/kick  Foo Bar", Meaning::Order(Order::Remove("Foo Bar".to_owned()))),
            ("  ", Meaning::Nothing),
        ] {
            assert_eq!(meaning(line), expected, "{line:?}");
        }
        for line in ["/kick", "/nonsense", "/help", &"x".repeat(5000)] {
            assert!(matches!(meaning(line), Meaning::Answer(lines) if !lines.is_empty()), "{line:?}");
        }
    }
}
