//! What the client remembers by itself, in one file: servers that were joined, how loud others are to be heard there and who is ignored, by which key the
//! user talks, and what was left in rooms: what was typed and not said, and how far it was read.
//!
//! Nothing here is a decision about trust (that is in `known_hosts`) or a setting. Two clients may remember at the same time.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use chinwag_proto::{
    limits::{MESSAGE_BYTES, NAME_BYTES},
    link::Link,
};
use chinwag_screen::Button;
use etcetera::BaseStrategy as _;
use serde::{Deserialize, Serialize};

const FILE: &str = "servers.json";

/// Servers that are remembered; those joined longest ago are forgotten.
const RECENT: usize = 20;

/// Volumes that are remembered; those set longest ago are forgotten.
const VOLUMES: usize = 500;

/// People who are ignored; those ignored longest ago are forgotten.
const IGNORED: usize = 500;

/// Servers of whose rooms something is remembered; those left longest ago are forgotten.
const PLACES: usize = RECENT;

/// Rooms of one server of which something is remembered; those left longest ago are forgotten.
const ROOMS: usize = 64;

/// A server that was joined.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Recent {
    /// A link with host, port, room and, if it was given, the fingerprint.
    link: String,
    /// The name that was used there last.
    pub(crate) name: String,
    /// When, in seconds since 1970.
    pub(crate) last: u64,
}

/// How loud somebody is to be heard.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Volume {
    /// `HOST:PORT`.
    server: String,
    name: String,
    db: f32,
}

/// Somebody whose messages are hidden.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Ignored {
    /// `HOST:PORT`.
    server: String,
    name: String,
}

/// What was left in a room.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Room {
    /// As the server has it.
    pub(crate) name: String,
    /// What was typed and not entered; a message's length at most.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) draft: String,
    /// Which numbering the next is of.
    pub(crate) epoch: u64,
    /// The place of the last message that was read.
    pub(crate) read: u64,
}

/// In which rooms of a server somebody was when he left it, in their order, by their names.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Open {
    pub(crate) rooms: Vec<String>,
    pub(crate) looked_at: String,
    /// The one with his voice.
    pub(crate) voice: String,
}

/// What was left at a server.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Place {
    /// `HOST:PORT`.
    server: String,
    open: Open,
    rooms: Vec<Room>,
}

/// The file: what is newest comes first.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Contents {
    recent: Vec<Recent>,
    volumes: Vec<Volume>,
    ignored: Vec<Ignored>,
    ptt_key: Option<String>,
    places: Vec<Place>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Memory {
    /// `None`: nothing can be remembered longer than this runs.
    path: Option<PathBuf>,
    contents: Contents,
}

impl Memory {
    /// What was remembered, and what the user should know about it.
    pub(crate) fn load() -> (Self, Option<String>) {
        let folder = etcetera::choose_base_strategy().ok();
        let folder = folder.map(|folders| folders.state_dir().unwrap_or_else(|| folders.data_dir()));
        Self::load_in(folder.map(|folder| folder.join("chinwag")))
    }

    fn load_in(folder: Option<PathBuf>) -> (Self, Option<String>) {
        let mut memory = Self { path: folder.map(|folder| folder.join(FILE)), contents: Contents::default() };
        // Nothing is made where nothing was remembered.
        let is_there = memory.path.as_ref().is_some_and(|path| path.exists());
        let trouble = if is_there { memory.change(|_| false) } else { None };
        (memory, trouble)
    }

    /// The servers that were joined, the last one first, with links that can be used.
    pub(crate) fn recent(&self) -> Vec<(Link, Recent)> {
        let usable = |recent: &Recent| Some((Link::parse(&recent.link).ok()?, recent.clone()));
        self.contents.recent.iter().filter_map(usable).collect()
    }

    /// A server was joined just now. What the user should know is that it cannot be remembered.
    pub(crate) fn joined(&mut self, link: &Link, name: &str) -> Option<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.change(|contents| {
            contents
                .recent
                .retain(|recent| !Link::parse(&recent.link).is_ok_and(|known| is_same(&known, link)));
            contents.recent.insert(0, Recent { link: link.to_string(), name: name.to_owned(), last: now });
            contents.recent.truncate(RECENT);
            true
        })
    }

    /// The key by which the user talks, if he ever chose one.
    pub(crate) fn button(&self) -> Option<Button> {
        self.contents.ptt_key.as_deref()?.parse().ok()
    }

    /// The user talks by this key. What the user should know is that it cannot be remembered.
    pub(crate) fn set_button(&mut self, button: Button) -> Option<String> {
        self.change(|contents| {
            contents.ptt_key = Some(button.to_string());
            true
        })
    }

    /// How much louder somebody is to be heard, in dB.
    pub(crate) fn volume(&self, link: &Link, name: &str) -> Option<f32> {
        let mut volumes = self.contents.volumes.iter();
        volumes.find(|volume| volume.is_of(link, name)).map(|volume| volume.db)
    }

    /// Somebody is to be heard so much louder, in dB. What the user should know is that it cannot be remembered.
    pub(crate) fn set_volume(&mut self, link: &Link, name: &str, db: f32) -> Option<String> {
        self.change(|contents| {
            contents.volumes.retain(|volume| !volume.is_of(link, name));
            // As he comes: that needs no remembering.
            if db != 0.0 {
                contents.volumes.insert(0, Volume { server: link.authority(), name: name.to_owned(), db });
            }
            contents.volumes.truncate(VOLUMES);
            true
        })
    }

    /// Who is ignored on a server, who was first first.
    pub(crate) fn ignored(&self, link: &Link) -> Vec<String> {
        let ignored = self.contents.ignored.iter().rev();
        ignored.filter(|one| one.server == link.authority()).map(|one| one.name.clone()).collect()
    }

    /// Somebody is ignored, or no more. What the user should know is that it cannot be remembered.
    pub(crate) fn set_ignored(&mut self, link: &Link, name: &str, is_ignored: bool) -> Option<String> {
        self.change(|contents| {
            let (server, name) = (link.authority(), name.to_owned());
            contents
                .ignored
                .retain(|one| one.server != server || one.name.to_lowercase() != name.to_lowercase());
            if is_ignored {
                contents.ignored.insert(0, Ignored { server, name });
            }
            contents.ignored.truncate(IGNORED);
            true
        })
    }

    /// What was left in a room.
    pub(crate) fn room(&self, link: &Link, name: &str) -> Option<&Room> {
        self.place(link)?.rooms.iter().find(|room| room.name == name)
    }

    /// In which rooms of a server somebody was.
    pub(crate) fn open(&self, link: &Link) -> Option<&Open> {
        self.place(link).map(|place| &place.open)
    }

    fn place(&self, link: &Link) -> Option<&Place> {
        self.contents.places.iter().find(|place| place.server == link.authority())
    }

    /// These rooms are left as they are just now; of others nothing changes. What the user should know is that it cannot be
    /// remembered.
    pub(crate) fn leave(&mut self, link: &Link, rooms: &[Room], open: &Open) -> Option<String> {
        let is_bounded = |room: &&Room| room.name.len() <= NAME_BYTES && room.draft.len() <= MESSAGE_BYTES;
        let rooms: Vec<_> = rooms.iter().filter(is_bounded).take(ROOMS).cloned().collect();
        let mut open = open.clone();
        open.rooms.truncate(ROOMS);
        self.change(|contents| {
            let at = contents.places.iter().position(|place| place.server == link.authority());
            let mut place = at.map(|at| contents.places.remove(at)).unwrap_or_default();
            place.rooms.retain(|known| rooms.iter().all(|room| room.name != known.name));
            place.rooms.splice(..0, rooms.iter().cloned());
            place.rooms.truncate(ROOMS);
            (place.server, place.open) = (link.authority(), open.clone());
            contents.places.insert(0, place);
            contents.places.truncate(PLACES);
            true
        })
    }

    /// Changes what is remembered, here and in the file, where others may have changed it meanwhile. False of `change`: the
    /// file is well as it is.
    fn change(&mut self, change: impl Fn(&mut Contents) -> bool) -> Option<String> {
        change(&mut self.contents);
        let path = self.path.clone()?;
        let mut trouble = None;
        let changed = (|| {
            let _lock = lock(&path)?;
            let mut contents = load(&path, &mut trouble)?;
            if change(&mut contents) {
                store(&path, &contents)?;
            }
            Ok::<_, io::Error>(contents)
        })();
        match changed {
            Ok(contents) => self.contents = contents,
            Err(error) => {
                // It would not go better the next time, and is told once.
                self.path = None;
                let path = path.display();
                trouble =
                    Some(format!("{path}: servers, volumes and what you type cannot be remembered: {error}"));
            }
        }
        trouble
    }
}

impl Volume {
    fn is_of(&self, link: &Link, name: &str) -> bool {
        self.server == link.authority() && self.name.to_lowercase() == name.to_lowercase()
    }
}

/// The same room of the same server, whatever proof there is of it.
pub(crate) fn is_same(a: &Link, b: &Link) -> bool {
    a.authority() == b.authority() && a.room == b.room
}

/// Others wait as long as this is held.
fn lock(path: &Path) -> io::Result<fs::File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = private().truncate(false).open(path.with_extension("lock"))?;
    // Where the file system knows no locks, of two clients that remember at the same moment one is lost.
    let _ = file.lock();
    Ok(file)
}

/// What is in the file. One that is damaged is moved aside, which is told.
fn load(path: &Path, trouble: &mut Option<String>) -> io::Result<Contents> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::default()),
        bytes => bytes?,
    };
    serde_json::from_slice(&bytes).or_else(|error| {
        let aside = path.with_extension("damaged.json");
        fs::rename(path, &aside)?;
        *trouble = Some(format!(
            "{}: servers, volumes and lines that were remembered cannot be read ({error}); the file is {} now, and another is begun",
            path.display(),
            aside.display()
        ));
        Ok(Contents::default())
    })
}

/// Writes the file so that it is there whole or as it was.
fn store(path: &Path, contents: &Contents) -> io::Result<()> {
    // The lock is held: nobody else writes this.
    let new = path.with_extension("new.json");
    let _ = fs::remove_file(&new);
    let mut file = private().create_new(true).open(&new)?;
    file.write_all(&serde_json::to_vec_pretty(contents)?)?;
    fs::rename(&new, path)
}

/// Files that nobody else can read: who somebody talks with is nobody's business, nor what he does not say.
fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn link(text: &str) -> Link {
        Link::parse(text).unwrap()
    }

    fn open(folder: &Path) -> Memory {
        let (memory, trouble) = Memory::load_in(Some(folder.join("state")));
        assert_eq!(trouble, None);
        memory
    }

    fn names(memory: &Memory) -> Vec<String> {
        memory
            .recent()
            .into_iter()
            .map(|(link, recent)| format!("{} at {}", recent.name, link.authority()))
            .collect()
    }

    #[test]
    fn servers_are_known_again_the_last_one_first_and_once_each() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = open(folder.path());
        assert_eq!(memory.joined(&link("a"), "Foo"), None);
        memory.joined(&link("b/attic"), "Bar");
        memory.joined(&link(&format!("chinwag://a#{}", "ab".repeat(32))), "Baz");
        memory.joined(&link("b"), "Foo");
        let expected = ["Foo at b:24469", "Baz at a:24469", "Bar at b:24469"];
        assert_eq!(
            (names(&memory), names(&open(folder.path()))),
            (expected.map(str::to_owned).into(), expected.map(str::to_owned).into())
        );
        for port in 1..100 {
            memory.joined(&link(&format!("c:{port}")), "Foo");
        }
        assert_eq!((memory.recent().len(), names(&memory)[0].as_str()), (RECENT, "Foo at c:99"));
    }

    #[test]
    fn volumes_are_known_again_by_name_and_server() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = open(folder.path());
        memory.set_volume(&link("a"), "Foo", -6.0);
        memory.set_volume(&link("a/attic"), "foo", -7.5);
        memory.set_volume(&link("b"), "Foo", 3.0);
        memory.set_volume(&link("b"), "Bar", 3.0);
        memory.set_volume(&link("b"), "Bar", 0.0);
        for memory in [memory, open(folder.path())] {
            let volume = |server, name| memory.volume(&link(server), name);
            assert_eq!(
                (volume("a", "FOO"), volume("b", "Foo"), volume("b", "Bar")),
                (Some(-7.5), Some(3.0), None)
            );
        }
    }

    fn room(name: &str, draft: &str, read: u64) -> Room {
        Room { name: name.to_owned(), draft: draft.to_owned(), epoch: u64::MAX, read }
    }

    fn open_rooms(rooms: &[&str]) -> Open {
        let rooms: Vec<_> = rooms.iter().map(|&room| room.to_owned()).collect();
        let (looked_at, voice) = (rooms[0].clone(), rooms[rooms.len() - 1].clone());
        Open { rooms, looked_at, voice }
    }

    #[test]
    fn what_was_left_in_rooms_is_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = open(folder.path());
        let both = [room("lobby", "half a \"line", 7), room("attic", "", u64::MAX)];
        memory.leave(&link("a"), &both, &open_rooms(&["lobby", "attic"]));
        memory.leave(&link("b"), &[room("lobby", "elsewhere", 1)], &open_rooms(&["lobby"]));
        // Another one is left later; of the first nothing changes.
        memory.leave(&link("a/attic"), &[room("attic", "there", 9)], &open_rooms(&["attic"]));
        for memory in [memory, open(folder.path())] {
            assert_eq!(memory.room(&link("a"), "lobby"), Some(&both[0]));
            assert_eq!(memory.room(&link("a"), "attic"), Some(&room("attic", "there", 9)));
            assert_eq!(memory.room(&link("b"), "attic"), None);
            assert_eq!(memory.open(&link("a")), Some(&open_rooms(&["attic"])));
            assert_eq!(memory.open(&link("c")), None);
        }
    }

    #[test]
    fn what_was_left_is_bounded_and_what_is_newest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = open(folder.path());
        for n in 0..ROOMS + 5 {
            memory.leave(&link("a"), &[room(&n.to_string(), "x", 1)], &open_rooms(&["lobby"]));
        }
        assert_eq!((memory.room(&link("a"), "4"), memory.contents.places[0].rooms.len()), (None, ROOMS));
        assert!(memory.room(&link("a"), "5").is_some());
        let too_long = [
            room(&"n".repeat(NAME_BYTES + 1), "", 1),
            room("long", &"x".repeat(MESSAGE_BYTES + 1), 1),
            room("longest", &"x".repeat(MESSAGE_BYTES), 1),
        ];
        let names: Vec<_> = (0..=ROOMS).map(|n| n.to_string()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        memory.leave(&link("a"), &too_long, &open_rooms(&names));
        assert_eq!(memory.contents.places[0].rooms[0].name, "longest");
        assert_eq!(memory.open(&link("a")).unwrap().rooms.len(), ROOMS);
        for port in 1..=PLACES {
            memory.leave(&link(&format!("c:{port}")), &[], &Open::default());
        }
        assert_eq!((memory.open(&link("a")), memory.contents.places.len()), (None, PLACES));
        assert_eq!(memory.contents, open(folder.path()).contents);
    }

    #[test]
    fn a_file_of_the_version_before_is_read_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state").join(FILE);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let before = r#"{
  "recent": [{ "link": "chinwag://a:24469", "name": "Foo", "last": 1 }],
  "volumes": [{ "server": "a:24469", "name": "Bar", "db": -6.0 }]
}"#;
        fs::write(&path, before).unwrap();
        let mut memory = open(folder.path());
        assert_eq!(memory.room(&link("a"), "lobby"), None);
        assert_eq!(memory.leave(&link("a"), &[room("lobby", "x", 1)], &open_rooms(&["lobby"])), None);
        let memory = open(folder.path());
        assert_eq!(
            (names(&memory), memory.volume(&link("a"), "Bar")),
            (vec!["Foo at a:24469".into()], Some(-6.0))
        );
        assert_eq!(memory.room(&link("a"), "lobby"), Some(&room("lobby", "x", 1)));
    }

    #[test]
    fn what_others_remember_at_the_same_time_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            for host in ["a", "b", "c"] {
                let folder = folder.path();
                scope.spawn(move || {
                    let mut memory = open(folder);
                    for n in 0..30 {
                        assert_eq!(memory.set_volume(&link(host), &format!("Foo {n}"), 1.0), None);
                    }
                    assert_eq!(memory.joined(&link(host), "Foo"), None);
                    // At the same server, too.
                    assert_eq!(memory.leave(&link("d"), &[room(host, host, 1)], &Open::default()), None);
                });
            }
        });
        let memory = open(folder.path());
        assert_eq!((memory.recent().len(), memory.contents.volumes.len()), (3, 90));
        assert_eq!(memory.contents.places[0].rooms.len(), 3);
    }

    #[test]
    fn a_damaged_file_is_moved_aside_and_told() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).joined(&link("a"), "Foo");
        let path = folder.path().join("state").join(FILE);
        fs::write(&path, b"{\"recent\": [\xff").unwrap();
        let (mut memory, trouble) = Memory::load_in(Some(folder.path().join("state")));
        assert!(trouble.unwrap().contains("servers.damaged.json now"));
        assert!(memory.recent().is_empty());
        assert_eq!(memory.joined(&link("b"), "Foo"), None);
        assert_eq!(fs::read(path.with_extension("damaged.json")).unwrap(), b"{\"recent\": [\xff");
        assert_eq!(names(&open(folder.path())), ["Foo at b:24469"]);
        // One that another version wrote is not damaged.
        fs::write(
            &path,
            "{\"recent\": [{\"link\": \"?\", \"name\": \"\", \"last\": 1, \"more\": 1}], \"more\": 1}",
        )
        .unwrap();
        assert!(open(folder.path()).recent().is_empty());
    }

    #[test]
    fn where_nothing_can_be_remembered_that_is_told_once_and_all_else_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let (mut memory, trouble) = Memory::load_in(Some(folder.path().join("file/below")));
        assert_eq!(trouble, None);
        assert!(memory.joined(&link("a"), "Foo").unwrap().contains("cannot be remembered"));
        assert_eq!(memory.set_volume(&link("a"), "Bar", 2.0), None);
        assert_eq!((memory.recent().len(), memory.volume(&link("a"), "Bar")), (1, Some(2.0)));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).joined(&link("a"), "Foo");
        for file in fs::read_dir(folder.path().join("state")).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
