//! Worlds that failed once, worlds of every kind, and worlds that are told what to do.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use chinwag_sim::{Key, MAX_CLIENTS, Scenario, Script, Spec};
use proptest::{prelude::*, test_runner::Config};

fn run(scenario: &Scenario) {
    if let Err(failure) = chinwag_sim::run(scenario, None) {
        panic!("{failure}");
    }
}

/// The lines of the list of worlds that failed once: arguments of `chinwag-sim run`.
fn failed_once() -> Vec<Vec<String>> {
    let list = include_str!("../seeds.txt").lines().map(|line| line.split('#').next().unwrap().trim());
    list.filter(|line| !line.is_empty()).map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

#[test]
fn what_failed_once_holds() {
    let worlds = failed_once();
    assert!(worlds.len() > 10);
    for world in worlds {
        let output =
            Command::new(env!("CARGO_BIN_EXE_chinwag-sim")).arg("run").args(&world).output().unwrap();
        assert!(output.status.success(), "{world:?}: {output:?}");
    }
}

#[test]
fn everything_that_should_happen_sometimes_does_in_some_hundred_worlds() {
    let mut tally = chinwag_sim::Tally::default();
    let mut seed = 0;
    while tally.never().next().is_some() {
        let report = chinwag_sim::run(&Scenario::from_seed(seed), None);
        tally.add(&report.unwrap_or_else(|failure| panic!("{failure}")).tally);
        seed += 1;
        assert!(seed < 2_000, "never: {:?}", tally.never().collect::<Vec<_>>());
    }
}

#[test]
fn simpler_worlds_get_simple() {
    let mut scenario = Scenario::from_seed(3);
    let mut steps = 0;
    while let Some(simpler) = scenario.simpler().into_iter().next() {
        scenario = simpler;
        steps += 1;
        assert!(steps < 100, "no end of {scenario}");
    }
    assert_eq!((scenario.clients, scenario.rooms, scenario.seconds), (1, 1, 1));
    assert_eq!(scenario.spec, Spec::default());
}

#[test]
fn numbers_out_of_range_are_taken_as_the_nearest() {
    let report = |clients| {
        let scenario = Scenario { clients, seconds: 1, ..Default::default() };
        chinwag_sim::run(&scenario, None).unwrap().trace
    };
    assert_eq!(report(0), report(1));
    assert_eq!(report(u32::MAX), report(MAX_CLIENTS));
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn whatever_is_done_to_a_world_all_holds(
        seed in any::<u64>(),
        clients in 1_u32..6,
        rooms in 1_u32..3,
        hostile in 0_u64..3,
        classics in 0_u64..4,
        steps in prop::collection::vec(any::<[u8; 4]>(), 0..40),
    ) {
        let spec = Spec::default().with(Key::Hostile, hostile).with(Key::Classic, classics);
        let spec = spec.with(Key::Text, 200_000).with(Key::Talk, 300_000);
        let script = Script::from_bytes(steps.as_flattened());
        let scenario = Scenario { seed, clients, rooms, seconds: 20, spec, script, mistake: None };
        if let Err(failure) = chinwag_sim::run(&scenario, None) {
            return Err(TestCaseError::fail(failure.to_string()));
        }
    }
}

#[test]
fn any_bytes_are_a_world() {
    for length in [0, 1, 6, 9, 10, 3000] {
        let bytes: Vec<u8> = (0..=255).cycle().take(length).collect();
        run(&Scenario::from_bytes(&bytes));
    }
}
