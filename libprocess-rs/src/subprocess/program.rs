//! Where a program is, by the rules of execvp(3).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| !program.is_empty() && is_executable(candidate))
        .ok_or_else(|| Error::NotInPath {
            program: program.to_owned(),
            path,
        })
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

        assert_eq!(find("./x".as_ref(), None).unwrap(), Path::new("./x"));
        assert_eq!(find("sh".as_ref(), None).unwrap(), Path::new("/bin/sh"));
        let missing = find("none".as_ref(), Some("/a:/b".into())).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "program 'none' not found in PATH '/a:/b'"
        );
    }
}
