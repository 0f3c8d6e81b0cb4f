//! Names attached to files, and what is read below them.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::{Gid, Group, Uid, User};
use thiserror::Error;

use crate::proto;

/// The most that one read returns, in bytes.
///
/// Upstream: 16 pages.
pub const MAX_READ_BYTES: u64 = 16 * 4096;

/// Why a file cannot be shown.
#[derive(Debug, Error)]
pub enum FilesError {
    /// There is no such file under an attached name.
    #[error("'{0}' does not exist")]
    NotFound(String),
    /// The name leads out of what is attached.
    #[error("'{0}' is inaccessible")]
    Inaccessible(String),
    /// A file was expected.
    #[error("Cannot {0} a directory")]
    Directory(&'static str),
    /// The operating system refuses.
    #[error("Failed to open file at '{path}': {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Virtual names of files and folders.
#[derive(Clone, Debug, Default)]
pub(super) struct Attachments {
    paths: BTreeMap<String, PathBuf>,
}

/// Part of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Section {
    /// The size of the whole file in bytes.
    pub size: u64,
    /// The part that was asked for.
    pub data: Vec<u8>,
}

impl Attachments {
    pub(super) fn attach(&mut self, name: &str, path: PathBuf) {
        self.paths.insert(normalize(name).to_owned(), path);
    }

    pub(super) fn detach(&mut self, name: &str) {
        self.paths.remove(normalize(name));
    }

    pub(super) fn paths(&self) -> &BTreeMap<String, PathBuf> {
        &self.paths
    }

    /// The real file behind a name: that of the longest attached prefix, and the rest of the name below it.
    pub(super) fn resolve(&self, name: &str) -> Result<PathBuf, FilesError> {
        let missing = || FilesError::NotFound(name.to_owned());
        let name = normalize(name);
        let mut end = name.len();
        let (root, rest) = loop {
            let (prefix, rest) = name.split_at(end);
            if let Some(root) = self.paths.get(prefix) {
                break (root, rest.trim_start_matches('/'));
            }
            end = prefix.rfind('/').ok_or_else(missing)?;
        };
        let root = root.canonicalize().map_err(|_| missing())?;
        if rest.is_empty() {
            return Ok(root);
        }
        let path = root.join(rest).canonicalize().map_err(|_| missing())?;
        if path.starts_with(&root) {
            Ok(path)
        } else {
            Err(FilesError::Inaccessible(name.to_owned()))
        }
    }

    /// What is in a folder, by name. A plain file has nothing in it.
    pub(super) fn browse(&self, name: &str) -> Result<Vec<proto::FileInfo>, FilesError> {
        let folder = self.resolve(name)?;
        let Ok(entries) = fs::read_dir(&folder) else {
            return Ok(Vec::new());
        };
        let mut files: Vec<proto::FileInfo> = entries
            .flatten()
            .filter_map(|entry| {
                let metadata = fs::metadata(entry.path()).ok()?;
                let entry = entry.file_name();
                let path = Path::new(name).join(entry);
                Some(describe(&path, &metadata))
            })
            .collect();
        files.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        Ok(files)
    }

    /// Part of a file. At or behind its end there is nothing.
    pub(super) fn read(
        &self,
        name: &str,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Section, FilesError> {
        let path = self.resolve(name)?;
        let fail = |source| FilesError::Io {
            path: path.clone(),
            source,
        };
        let mut options = File::options();
        // To open a pipe for reading would wait for somebody who writes to it.
        options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let mut file = options.open(&path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if metadata.is_dir() {
            return Err(FilesError::Directory("read"));
        }
        let size = metadata.len();
        let wanted = length.unwrap_or(u64::MAX).min(MAX_READ_BYTES);
        let mut data = Vec::new();
        if offset < size && wanted > 0 {
            file.seek(SeekFrom::Start(offset)).map_err(fail)?;
            file.take(wanted).read_to_end(&mut data).map_err(fail)?;
        }
        Ok(Section { size, data })
    }
}

fn normalize(name: &str) -> &str {
    name.strip_suffix('/').unwrap_or(name)
}

fn describe(path: &Path, metadata: &Metadata) -> proto::FileInfo {
    let owner = User::from_uid(Uid::from_raw(metadata.uid()));
    let group = Group::from_gid(Gid::from_raw(metadata.gid()));
    proto::FileInfo {
        path: path.to_string_lossy().into_owned(),
        nlink: i32::try_from(metadata.nlink()).ok(),
        size: Some(metadata.len()),
        mtime: Some(proto::TimeInfo {
            nanoseconds: metadata.mtime().saturating_mul(1_000_000_000),
        }),
        mode: Some(metadata.mode()),
        uid: owner.ok().flatten().map(|user| user.name),
        gid: group.ok().flatten().map(|group| group.name),
    }
}

/// A mode as `ls` shows it.
pub(super) fn mode_text(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o060_000 => 'b',
        0o020_000 => 'c',
        0o010_000 => 'p',
        0o140_000 => 's',
        _ => '-',
    };
    let bits = "rwxrwxrwx".chars().enumerate().map(|(index, letter)| {
        if mode & (0o400 >> index) == 0 {
            '-'
        } else {
            letter
        }
    });
    std::iter::once(kind).chain(bits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn setup() -> (tempfile::TempDir, Attachments) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("box/sub")).unwrap();
        fs::create_dir(root.join("box2")).unwrap();
        fs::write(root.join("box/out"), "0123456789").unwrap();
        fs::write(root.join("box/sub/file"), "x").unwrap();
        fs::write(root.join("box2/secret"), "secret").unwrap();
        symlink(root.join("box2/secret"), root.join("box/link")).unwrap();
        let mut attachments = Attachments::default();
        attachments.attach("/a", root.join("box"));
        attachments.attach("/a/deep/", root.join("box/sub"));
        attachments.attach("/log", root.join("box/out"));
        (folder, attachments)
    }

    #[test]
    fn names_lead_to_files_below_what_is_attached() {
        let (folder, attachments) = setup();
        let check = |name: &str, expected: Result<&str, &str>| {
            let root = folder.path().canonicalize().unwrap();
            let found = attachments.resolve(name);
            match expected {
                Ok(path) => assert_eq!(found.unwrap(), root.join(path), "{name}"),
                Err(message) => assert_eq!(found.unwrap_err().to_string(), message),
            }
        };
        check("/a", Ok("box"));
        check("/a/", Ok("box"));
        check("/a/out", Ok("box/out"));
        check("/a/sub/file", Ok("box/sub/file"));
        check("/a/deep/file", Ok("box/sub/file"));
        check("/a/./sub/../out", Ok("box/out"));
        check("/log", Ok("box/out"));
        check("/log/x", Err("'/log/x' does not exist"));
        check("/a/none", Err("'/a/none' does not exist"));
        check("/ab", Err("'/ab' does not exist"));
        check("", Err("'' does not exist"));
        check("/", Err("'/' does not exist"));
        check(
            "/a/../box2/secret",
            Err("'/a/../box2/secret' is inaccessible"),
        );
        check("/a/link", Err("'/a/link' is inaccessible"));
    }

    #[test]
    fn parts_of_a_file() {
        let (_folder, attachments) = setup();
        let check = |offset, length, expected: &str| {
            let section = attachments.read("/a/out", offset, length).unwrap();
            assert_eq!(section.size, 10);
            assert_eq!(section.data, expected.as_bytes());
        };
        check(0, None, "0123456789");
        check(3, None, "3456789");
        check(3, Some(2), "34");
        check(9, Some(100), "9");
        check(10, None, "");
        check(u64::MAX, Some(u64::MAX), "");
        check(0, Some(0), "");
        assert!(matches!(
            attachments.read("/a", 0, None),
            Err(FilesError::Directory("read"))
        ));
    }

    #[test]
    fn a_pipe_has_nothing_and_does_not_make_the_reader_wait() {
        let (folder, attachments) = setup();
        let pipe = folder.path().join("box/pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let section = attachments.read("/a/pipe", 0, None).unwrap();
        let empty = Section {
            size: 0,
            data: Vec::new(),
        };
        assert_eq!(section, empty);
    }

    #[test]
    fn a_read_is_bounded() {
        let (folder, attachments) = setup();
        fs::write(folder.path().join("box/out"), vec![b'x'; 100_000]).unwrap();
        let section = attachments.read("/log", 0, None).unwrap();
        assert_eq!(section.data.len(), 65_536);
        assert_eq!(section.size, 100_000);
    }

    #[test]
    fn folders_list_what_is_in_them() {
        let (_folder, attachments) = setup();
        let names = |name: &str| -> Vec<String> {
            let files = attachments.browse(name).unwrap();
            files.into_iter().map(|file| file.path).collect()
        };
        assert_eq!(names("/a"), ["/a/link", "/a/out", "/a/sub"]);
        assert_eq!(names("/log"), [""; 0]);
        let file = attachments.browse("/a").unwrap().remove(1);
        assert_eq!(file.size, Some(10));
        assert_eq!(file.nlink, Some(1));
        assert!(attachments.browse("/none").is_err());
    }

    #[test]
    fn modes() {
        assert_eq!(mode_text(0o100_644), "-rw-r--r--");
        assert_eq!(mode_text(0o040_750), "drwxr-x---");
        assert_eq!(mode_text(0o120_777), "lrwxrwxrwx");
    }
}
