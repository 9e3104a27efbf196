//! The file of settings: where it is, and the one that is written for whoever has none.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use chinwag_settings::{File, Refusal, Table, settle};
use etcetera::BaseStrategy as _;

use crate::arguments::{Arguments, Settings};

const FILE: &str = "config.toml";

/// What settings could be that are nothing by default.
const EXAMPLES: [(&str, &str); 3] = [("name", "Foo"), ("gate", "voice"), ("ptt_key", "F8")];

/// The folder for what the user decides: settings, and known hosts. `None` where no home folder is known.
pub(crate) fn folder() -> Option<PathBuf> {
    Some(etcetera::choose_base_strategy().ok()?.config_dir().join("chinwag"))
}

/// What the user wants, by the flags, the environment and the file of settings.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn read() -> Result<Arguments, Refusal> {
    let file = folder().map(|folder| File::Usual(folder.join(FILE)));
    Ok(settle(&table(), |_: &Arguments| file)?.0)
}

/// Writes a file of settings in which none is in force yet, unless there is one.
///
/// # Errors
/// Why it cannot be written, for the user to read.
pub(crate) fn write_first(folder: &Path) -> Result<(), String> {
    let path = folder.join(FILE);
    let written = fs::create_dir_all(folder).and_then(|()| match fs::File::create_new(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        file => file?.write_all(example().as_bytes()),
    });
    written.map_err(|error| {
        format!("{}: no settings could be written for you to change: {error}", path.display())
    })
}

fn example() -> String {
    table().example(
        "Settings of chinwag. This file was written once and is yours now: it is read whenever chinwag starts, and never \
         written again. When you delete it, the next conversation writes it anew.",
    )
}

fn table() -> Table {
    Table::of::<Settings>("CHINWAG_", "all of them are among the options of chinwag --help", &EXAMPLES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(folder: &Path) -> Result<String, String> {
        let file = File::Usual(folder.join(FILE));
        let settled =
            chinwag_settings::settle_from(&table(), ["chinwag"], |_| None, |_: &Arguments| Some(file));
        settled.map(|(_, settled)| settled.to_string()).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn the_first_file_has_every_setting_and_changes_none() {
        let folder = tempfile::tempdir().unwrap();
        let without = settled(folder.path()).unwrap();
        write_first(folder.path()).unwrap();
        assert_eq!(settled(folder.path()).unwrap(), without);
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        let is_setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
        let lines: Vec<_> = text.lines().filter(is_setting).map(|line| &line[1..]).collect();
        assert_eq!(lines.len(), without.lines().count());
        fs::write(folder.path().join(FILE), lines.join("\n")).unwrap();
        settled(folder.path()).unwrap();
        // In force, those that are something by default are what they were.
        let value = |line: &str| line.split(" # ").next().unwrap_or_default().trim().to_owned();
        let without: Vec<_> = without.lines().map(value).collect();
        let in_force: Vec<_> =
            lines.into_iter().filter(|line| without.iter().any(|seen| seen == line)).collect();
        assert!(in_force.len() >= 12, "{in_force:#?}");
        fs::write(folder.path().join(FILE), in_force.join("\n")).unwrap();
        assert_eq!(settled(folder.path()).unwrap().lines().map(value).collect::<Vec<_>>(), without);
    }

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, "stereo = true\n").unwrap();
        write_first(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "stereo = true\n");
        let told = write_first(&path).unwrap_err();
        assert!(told.contains("config.toml: no settings could be written"), "{told}");
    }

    #[test]
    fn a_name_that_cannot_be_one_is_refused_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "\nname = 'a:b'\n").unwrap();
        let told = settled(folder.path()).unwrap_err();
        assert!(told.contains("config.toml:2:8: name cannot be \"a:b\"") && told.contains("colon"), "{told}");
    }
}
