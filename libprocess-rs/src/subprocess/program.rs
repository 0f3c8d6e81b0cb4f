//! Where a program is, nearly by the rules of execvp(3): relative directories of `PATH` are those of the parent, not those below
//! the directory in which the process starts, and a script without `#!` is not started.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf, absolute};

use rustix::fs::{Access, access};

use super::Error;

/// Searched if there is no `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A name with a slash is taken as it is, relative to the directory that the process starts in; any other is looked up in the
/// directories of `path`.
pub(super) fn find(program: &OsStr, path: Option<OsString>) -> Result<PathBuf, Error> {
    if program.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(program));
    }
    let path = path.unwrap_or_else(|| DEFAULT_PATH.into());
    let found = candidates(program, &path)
        .find(|candidate| !program.is_empty() && is_executable(candidate));
    found.ok_or_else(|| Error::NotInPath {
        program: program.to_owned(),
        path,
    })
}

/// Always absolute: the standard library would look up a name without a slash again, as the empty directory, which is the current
/// one, would give, and the process may start in another directory.
fn candidates(program: &OsStr, path: &OsStr) -> impl Iterator<Item = PathBuf> {
    let directories = std::env::split_paths(path);
    directories
        .filter_map(move |directory| absolute(Path::new(".").join(directory).join(program)).ok())
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn searches_the_path() {
        let root = tempfile::tempdir().unwrap();
        let make = |name: &str, mode: u32| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        make("a/plain", 0o644);
        make("b/plain", 0o755);
        make("a/both", 0o755);
        make("b/both", 0o755);
        make("a/dir/x", 0o755);
        let path = std::env::join_paths([root.path().join("a"), root.path().join("b")]).unwrap();
        let check = |program: &str, expected: Option<&str>| {
            let found = find(program.as_ref(), Some(path.clone())).ok();
            let expected = expected.map(|name| root.path().join(name));
            assert_eq!(found, expected, "{program}");
        };
        check("plain", Some("b/plain"));
        check("both", Some("a/both"));
        check("dir", None);
        check("none", None);
        check("", None);

        let here = std::env::current_dir().unwrap();
        let tried: Vec<_> = candidates("x".as_ref(), "/a::b".as_ref()).collect();
        assert_eq!(
            tried,
            [PathBuf::from("/a/x"), here.join("x"), here.join("b/x")]
        );
        assert_eq!(find("./x".as_ref(), None).unwrap(), Path::new("./x"));
        assert_eq!(find("sh".as_ref(), None).unwrap(), Path::new("/bin/sh"));
        let missing = find("none".as_ref(), Some("/a:/b".into())).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "program 'none' not found in PATH '/a:/b'"
        );
    }
}
