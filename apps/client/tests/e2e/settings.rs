//! Settings of the client: flags before the environment before the file, which the first conversation writes.

use std::{fs, path::Path};

use crate::common::{Place, Program, Server, client};

const SILENT: [&str; 4] = ["--mic", "none", "--speaker", "none"];

fn write(place: &Place, text: &str) {
    fs::create_dir_all(place.path("config/chinwag")).unwrap();
    fs::write(place.path("config/chinwag/config.toml"), text).unwrap();
}

fn written(place: &Place) -> Option<String> {
    fs::read_to_string(place.path("config/chinwag/config.toml")).ok()
}

/// A client with variables of the environment.
fn client_in(place: &Place, variables: &[&str], arguments: &[&str]) -> Program {
    let client = [env!("CARGO_BIN_EXE_chinwag")];
    Program::start(Path::new("env"), [variables, &client, arguments].concat(), place)
}

#[test]
fn flags_come_before_the_environment_before_the_file() {
    let place = Place::new();
    let server = Server::start(&place);
    write(&place, "name = 'File'\nmic = 'none'\nspeaker = 'none'\nstereo = true\n");
    let link = server.link.as_str();
    let mut people = [
        (client_in(&place, &[], &[link]), "File"),
        (client_in(&place, &["CHINWAG_NAME=Variable", "CHINWAG_STEREO=off"], &[link]), "Variable"),
        (client_in(&place, &["CHINWAG_NAME=Variable"], &[link, "--name", "Flag", "--stereo=false"]), "Flag"),
    ];
    for (person, name) in &mut people {
        person.expect(&format!("Welcome {name}! If you ever want to quit, type {{quit}} to exit."));
    }
    assert!(written(&place).unwrap().starts_with("name = 'File'"));
}

#[test]
fn the_first_conversation_writes_a_file_and_no_other_touches_it() {
    let place = Place::new();
    let server = Server::start(&place);
    assert_eq!(client(&place, ["--help"]).exit_code(), 0);
    client(&place, ["devices"]).exit_code();
    assert_eq!(written(&place), None);
    drop(server.join(&place, "Foo"));
    let first = written(&place).unwrap();
    for part in ["#frame_ms = 10\n", "#auto_level = true\n", "#mic = \"default\"\n", "#name = \"Foo\"\n"] {
        assert!(first.contains(part), "{part}: {first}");
    }
    let mine = first.replace("#name = \"Foo\"", "name = \"Bar\"");
    write(&place, &mine);
    let mut bar = client(&place, SILENT.into_iter().chain([server.link.as_str()]));
    bar.expect("Welcome Bar! If you ever want to quit, type {quit} to exit.");
    assert_eq!(written(&place).unwrap(), mine);
}

#[test]
fn a_file_that_cannot_be_written_keeps_nobody_from_talking() {
    let place = Place::new();
    let server = Server::start(&place);
    fs::create_dir_all(place.path("config/chinwag")).unwrap();
    // Not to be followed, and in the way of a new file on every system and for every user.
    std::os::unix::fs::symlink("/none/at/all", place.path("config/chinwag/config.toml")).unwrap();
    drop(server.join(&place, "Foo"));
    fs::remove_dir_all(place.path("config")).unwrap();
    fs::write(place.path("config"), "no folder").unwrap();
    let mut foo = server.client(&place, &["--name", "Foo", "--mic", "none", "--speaker", "none"]);
    assert!(foo.expect_error("config.toml").contains("no settings could be written for you to change"));
}

#[test]
fn what_is_wrong_in_the_file_is_told_with_its_place() {
    let place = Place::new();
    write(&place, "mic = 'none'\n  frame_ms = 15\nsterio = true\nname = 'a:b'\n");
    for arguments in [&["127.0.0.1:1"][..], &["classic", "127.0.0.1"], &[]] {
        let mut foo = client(&place, arguments);
        assert_eq!(foo.exit_code(), 2);
        let errors = foo.errors();
        let lines: Vec<_> = errors.lines().collect();
        assert_eq!(lines.len(), 3, "{errors}");
        for (line, parts) in lines.iter().zip([
            ["config.toml:2:14: frame_ms cannot be \"15\"", "it is 10 or 20"],
            ["config.toml:3:1: there is no setting \"sterio\"", "did you mean stereo?"],
            ["config.toml:4:8: name cannot be \"a:b\"", "colon"],
        ]) {
            assert!(parts.iter().all(|part| line.contains(part)), "{line}, not {parts:?}");
        }
    }
    write(&place, "mic = 'none\n");
    let mut foo = client(&place, ["127.0.0.1:1"]);
    assert_eq!(foo.exit_code(), 2);
    assert!(foo.errors().contains("config.toml:1:"), "{}", foo.errors());
}

#[test]
fn other_commands_take_their_devices_from_the_file_too() {
    let place = Place::new();
    let file = place.path("there is none.wav");
    write(&place, &format!("mic = '{}'\nspeaker = 'none'\n", file.display()));
    let mut test = client(&place, ["test-audio"]);
    assert_eq!(test.exit_code(), 1);
    assert!(test.errors().contains("there is none.wav"), "{}", test.errors());
}
