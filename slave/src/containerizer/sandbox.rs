//! The sandbox of a container: its directory and its output files.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown, symlink};
use std::path::Path;

use nix::unistd::{User, getuid};

use super::ContainerizerError;
use super::launcher::Output;

/// Opens (and creates) the files for the output of a container.
pub(crate) fn open_output(
    directory: &Path,
    user: Option<&str>,
) -> Result<Output, ContainerizerError> {
    let owner = user.map(owner).transpose()?.flatten();
    let open = |name: &str| -> Result<File, ContainerizerError> {
        let path = directory.join(name);
        let fail = |action| {
            let path = path.clone();
            move |source| ContainerizerError::Sandbox {
                action,
                path,
                source,
            }
        };
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(fail("create"))?;
        if let Some((uid, gid)) = owner {
            chown(&path, Some(uid), Some(gid)).map_err(fail("change the owner of"))?;
        }
        Ok(file)
    };
    Ok(Output::files(open("stdout")?, open("stderr")?))
}

/// Whom the files of a user's container belong to, unless that is whom they belong to anyway.
fn owner(name: &str) -> Result<Option<(u32, u32)>, ContainerizerError> {
    let user = User::from_name(name)
        .ok()
        .flatten()
        .ok_or_else(|| ContainerizerError::NoSuchUser(name.to_owned()))?;
    let foreign = user.uid != getuid();
    Ok(foreign.then_some((user.uid.as_raw(), user.gid.as_raw())))
}

/// Creates the sandbox of a container, and points `latest` to it.
pub(crate) fn create_sandbox(
    sandbox: &Path,
    latest: &Path,
    user: Option<&str>,
) -> Result<(), ContainerizerError> {
    let fail = |action, path: &Path| {
        let path = path.to_owned();
        move |source| ContainerizerError::Sandbox {
            action,
            path,
            source,
        }
    };
    if let Some(parent) = sandbox.parent() {
        std::fs::create_dir_all(parent).map_err(fail("create", parent))?;
    }
    DirBuilder::new()
        .mode(0o750)
        .create(sandbox)
        .map_err(fail("create", sandbox))?;
    if let Some((uid, gid)) = user.map(owner).transpose()?.flatten() {
        chown(sandbox, Some(uid), Some(gid)).map_err(fail("change the owner of", sandbox))?;
    }
    match std::fs::remove_file(latest) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(fail("replace", latest)(error))
        }
        _ => symlink(sandbox, latest).map_err(fail("link", latest)),
    }
}
