//! Where the sockets are: `$XDG_RUNTIME_DIR/chinwag`, or a folder of the user's own in the temporary directory.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    process::{Pid, geteuid, test_kill_process},
};

/// Of the names of sockets, behind the process id.
const SUFFIX: &str = ".sock";
/// What others may do in the folder: nothing.
const OTHERS: u32 = 0o077;

/// See the module.
pub(super) fn folder() -> PathBuf {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    match runtime.filter(|folder| folder.is_absolute() && folder.is_dir()) {
        Some(folder) => folder.join("chinwag"),
        None => env::temp_dir().join(format!("chinwag-{}", geteuid().as_raw())),
    }
}

/// Makes the folder if there is none.
///
/// # Errors
/// When it cannot be made, or is not the user's alone.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    check(folder)
}

/// Sees to it that nobody else can put anything there, or take it away.
///
/// # Errors
/// When somebody can, or there is no such folder.
pub(super) fn check(folder: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(folder)?;
    if metadata.is_dir() && metadata.uid() == geteuid().as_raw() && metadata.mode() & OTHERS == 0 {
        return Ok(());
    }
    let why = format!(
        "{} must be a folder that is yours and that nobody else can enter (mode 700)",
        folder.display()
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// The socket of a process.
pub(super) fn socket(folder: &Path, pid: u32) -> PathBuf {
    folder.join(format!("{pid}{SUFFIX}"))
}

/// The processes that have a socket there. What the dead left behind is removed.
pub(super) fn living(folder: &Path) -> Vec<u32> {
    let names = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.file_name()));
    let mut pids: Vec<u32> =
        names.filter_map(|name| name.to_str()?.strip_suffix(SUFFIX)?.parse().ok()).collect();
    pids.retain(|&pid| {
        let is_alive = is_alive(pid);
        if !is_alive {
            // Another one may have been as quick.
            let _ = fs::remove_file(socket(folder, pid));
        }
        is_alive
    });
    pids.sort_unstable();
    pids
}

fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn only_a_folder_that_nobody_else_can_enter_will_do() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("chinwag");
        assert_eq!(check(&folder).unwrap_err().kind(), io::ErrorKind::NotFound);
        make(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        make(&folder).unwrap();
        let linked = place.path().join("linked");
        symlink(&folder, &linked).unwrap();
        assert!(make(&linked).unwrap_err().to_string().contains("mode 700"));
        for mode in [0o750, 0o701, 0o777] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(make(&folder).unwrap_err().kind(), io::ErrorKind::PermissionDenied, "{mode:o}");
        }
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(make(&file).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn sockets_of_the_dead_are_removed_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let own = std::process::id();
        // More than any system gives.
        for name in
            [format!("{own}.sock"), "4294967294.sock".into(), "2147483646.sock".into(), "notes.txt".into()]
        {
            fs::write(place.path().join(name), "").unwrap();
        }
        assert_eq!(living(place.path()), [own]);
        let mut left: Vec<_> =
            fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [format!("{own}.sock").as_str(), "notes.txt"]);
    }
}
