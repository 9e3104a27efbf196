//! How soon a server tells what was said: `past SERVER ROOM WORDS...` joins a room again and again, and tells how long it takes from the first packet until
//! its last page is there, then for a page in its middle and for a search for each of the words. For `script/bench-load`.

use std::{
    net::ToSocketAddrs as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use chinwag_proto::{
    Seq,
    client::{ClientConfig, ClientEvent, Page, PlaceId},
};
use chinwag_transport_mio::{
    clock,
    throng::{Handler, Throng, ThrongOptions},
};

/// How often each thing is measured.
const TIMES: usize = 15;
/// Messages of a page.
const PAGE: usize = 50;
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Answers {
    pages: Vec<Page>,
    trouble: Option<String>,
}

impl Handler for Answers {
    fn event(&mut self, _member: usize, event: ClientEvent) {
        match event {
            ClientEvent::History(page) => self.pages.push(page),
            ClientEvent::Refused { why, .. }
            | ClientEvent::NotEntered { why, .. }
            | ClientEvent::NotDone { why } => self.trouble = Some(why),
            ClientEvent::Ended(reason) => self.trouble = Some(format!("{reason:?}")),
            ClientEvent::Welcome { .. }
            | ClientEvent::Entered { .. }
            | ClientEvent::Changed { .. }
            | ClientEvent::Topic { .. }
            | ClientEvent::Rooms(_)
            | ClientEvent::Meanwhile { .. }
            | ClientEvent::Joined { .. }
            | ClientEvent::Left { .. }
            | ClientEvent::Said { .. }
            | ClientEvent::NotSaid { .. }
            | ClientEvent::Missed { .. }
            | ClientEvent::Reconnecting { .. }
            | ClientEvent::Path(_)
            | ClientEvent::Reported(_) => {}
        }
    }

    fn voice(&mut self, _member: usize, _payload: &[u8], _received_ns: u64) {}

    fn lost(&mut self, _member: usize, why: &str) {
        self.trouble = Some(why.to_owned());
    }
}

impl Answers {
    /// The next page.
    fn wait(&mut self, throng: &mut Throng) -> Result<Page> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(page) = self.pages.pop() {
                return match page.error {
                    Some(error) => bail!("{error}"),
                    None => Ok(page),
                };
            }
            if let Some(trouble) = &self.trouble {
                bail!("{trouble}");
            }
            if Instant::now() > deadline {
                bail!("no answer for {PATIENCE:?}");
            }
            throng.turn(clock::now_ns() + 1_000_000, self)?;
        }
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(server), Some(room)) = (arguments.next(), arguments.next()) else {
        bail!("usage: past HOST:PORT ROOM WORDS...");
    };
    let words: Vec<String> = arguments.collect();
    let server = server.to_socket_addrs()?.next().context("no such host")?;
    let (mut joins, mut middles) = (Vec::new(), Vec::new());
    let mut searches = vec![Vec::new(); words.len()];
    let mut last = 0;
    for time in 0..TIMES {
        let options =
            ThrongOptions { server, host: "localhost".into(), fingerprint: None, look_every: Duration::ZERO };
        let mut throng = Throng::new(options)?;
        let mut answers = Answers::default();
        let config = ClientConfig {
            name: format!("past-{}-{time}", std::process::id()),
            rooms: vec![room.clone()],
            software: "past".into(),
            history: PAGE,
        };
        let begun = Instant::now();
        throng.add(config, &mut answers)?;
        let page = answers.wait(&mut throng)?;
        joins.push(begun.elapsed());
        last = page.lines.last().map_or(0, |line| line.seq.to_wire());
        let mut ask = |before: u64, words: &str, answers: &mut Answers| -> Result<Duration> {
            let begun = Instant::now();
            let before = Some(Seq::from_wire(before)).filter(|before| *before != Seq::ZERO);
            throng.act(0, answers, |client, _| client.ask_history(PlaceId::FIRST, before, PAGE, words));
            answers.wait(&mut throng)?;
            Ok(begun.elapsed())
        };
        middles.push(ask(last / 2, "", &mut answers)?);
        for (words, times) in words.iter().zip(&mut searches) {
            times.push(ask(0, words, &mut answers)?);
        }
    }
    println!("{last} messages in {room}; medians (least to most) of {TIMES}, in milliseconds");
    show("join until the last page is there", &mut joins);
    show("a page in the middle", &mut middles);
    for (words, times) in words.iter().zip(&mut searches) {
        show(&format!("search: {words}"), times);
    }
    Ok(())
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |index: usize| times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    println!("{what:<40} {:>8.2} ({:.2} to {:.2})", at(times.len() / 2), at(0), at(times.len() - 1));
}
