//! Changes of real files, as a watcher tells them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::block_on;
use futures::FutureExt;
use libprocess::file_watcher::{Error, Event, FileWatcher};
use tempfile::TempDir;

/// The events so far, with paths relative to `root`.
fn events(watcher: &mut FileWatcher, root: &Path) -> Vec<String> {
    let relative = |path: PathBuf| path.strip_prefix(root).unwrap().display().to_string();
    let mut told = Vec::new();
    while let Some(event) = watcher.next().now_or_never() {
        told.push(match event.unwrap() {
            Event::Created(path) => format!("created {}", relative(path)),
            Event::Modified(path) => format!("modified {}", relative(path)),
            Event::Removed(path) => format!("removed {}", relative(path)),
            Event::Renamed { from, to } => format!("{} -> {}", relative(from), relative(to)),
            Event::Lost(path) => format!("lost {}", relative(path)),
            Event::Overflowed => "overflowed".to_owned(),
        });
    }
    told
}

/// A directory with a folder `a`, and what happens when `watch` has been called, then `change`.
fn check(
    watch: impl FnOnce(&mut FileWatcher, &Path),
    change: impl FnOnce(&Path),
    expected: &[&str],
) {
    let root = TempDir::new().unwrap();
    let root = root.path();
    fs::create_dir(root.join("a")).unwrap();
    block_on(async {
        let mut watcher = FileWatcher::new().unwrap();
        watch(&mut watcher, root);
        change(root);
        // The event loop has to have seen it.
        let mut told = Vec::new();
        while told.len() < expected.len() {
            tokio::task::yield_now().await;
            told.extend(events(&mut watcher, root));
        }
        assert_eq!(told, expected);
    });
}

fn watch_f(watcher: &mut FileWatcher, root: &Path) {
    watcher.watch_file(root.join("a/f")).unwrap();
}

fn watch_a(watcher: &mut FileWatcher, root: &Path) {
    watcher.watch_directory(root.join("a")).unwrap();
}

#[test]
fn a_file_comes_changes_and_goes() {
    let change = |root: &Path| {
        fs::write(root.join("a/other"), "").unwrap();
        fs::write(root.join("a/f"), "1").unwrap();
        fs::write(root.join("a/f"), "2").unwrap();
        fs::read(root.join("a/f")).unwrap();
        fs::remove_file(root.join("a/f")).unwrap();
        fs::remove_file(root.join("a/other")).unwrap();
    };
    // The kernel tells two equal changes in a row once.
    check(
        watch_f,
        change,
        &["created a/f", "modified a/f", "removed a/f"],
    );
    check(
        watch_a,
        change,
        &[
            "created a/other",
            "modified a/other",
            "created a/f",
            "modified a/f",
            "removed a/f",
            "removed a/other",
        ],
    );
}

#[test]
fn a_file_is_replaced_by_renaming() {
    let change = |root: &Path| {
        fs::write(root.join("a/f"), "1").unwrap();
        for version in ["2", "3"] {
            fs::write(root.join("a/f.new"), version).unwrap();
            fs::rename(root.join("a/f.new"), root.join("a/f")).unwrap();
        }
    };
    check(
        watch_f,
        change,
        &["created a/f", "modified a/f", "created a/f", "created a/f"],
    );
    check(
        watch_a,
        change,
        &[
            "created a/f",
            "modified a/f",
            "created a/f.new",
            "modified a/f.new",
            "a/f.new -> a/f",
            "created a/f.new",
            "modified a/f.new",
            "a/f.new -> a/f",
        ],
    );
}

#[test]
fn renaming_across_directories() {
    let change = |root: &Path| {
        fs::create_dir(root.join("b")).unwrap();
        fs::create_dir(root.join("a/d")).unwrap();
        fs::rename(root.join("a/d"), root.join("b/d")).unwrap();
        fs::rename(root.join("b/d"), root.join("a/e")).unwrap();
    };
    check(
        watch_a,
        change,
        &["created a/d", "removed a/d", "created a/e"],
    );
    let watch_both = |watcher: &mut FileWatcher, root: &Path| {
        watch_a(watcher, root);
        fs::create_dir(root.join("b")).unwrap();
        watcher.watch_directory(root.join("b")).unwrap();
    };
    let change = |root: &Path| {
        fs::create_dir(root.join("a/d")).unwrap();
        fs::rename(root.join("a/d"), root.join("b/d")).unwrap();
    };
    check(watch_both, change, &["created a/d", "a/d -> b/d"]);
}

#[test]
fn a_directory_is_lost() {
    let remove = |root: &Path| {
        fs::remove_dir(root.join("a")).unwrap();
        fs::create_dir(root.join("a")).unwrap();
        fs::write(root.join("a/f"), "unseen").unwrap();
    };
    check(watch_a, remove, &["lost a"]);
    check(watch_f, remove, &["lost a"]);
    let rename = |root: &Path| {
        fs::rename(root.join("a"), root.join("b")).unwrap();
        fs::write(root.join("b/f"), "").unwrap();
    };
    let watch = |watcher: &mut FileWatcher, root: &Path| {
        watch_a(watcher, root);
        watcher.watch_directory(root).unwrap();
    };
    check(watch, rename, &["a -> b", "lost a"]);
}

#[test]
fn one_directory_by_two_paths() {
    let watch = |watcher: &mut FileWatcher, root: &Path| {
        symlink("a", root.join("link")).unwrap();
        watch_f(watcher, root);
        watch_f(watcher, root);
        watcher.watch_file(root.join("link/f")).unwrap();
        watcher.watch_file(root.join("link/g")).unwrap();
    };
    let change = |root: &Path| {
        fs::create_dir(root.join("a/f")).unwrap();
        fs::rename(root.join("a/f"), root.join("a/g")).unwrap();
    };
    check(
        watch,
        change,
        &[
            "created a/f",
            "created link/f",
            "a/f -> link/g",
            "removed link/f",
        ],
    );
}

#[test]
fn too_many_changes_are_told() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    let root = TempDir::new().unwrap();
    let (a, b) = (root.path().join("a"), root.path().join("b"));
    block_on(async {
        let mut watcher = FileWatcher::new().unwrap();
        watcher.watch_directory(root.path()).unwrap();
        fs::write(&a, "").unwrap();
        for _ in 0..limit / 4 + 1 {
            fs::rename(&a, &b).unwrap();
            fs::rename(&b, &a).unwrap();
        }
        while watcher.next().await.unwrap() != Event::Overflowed {}
        fs::remove_file(&a).unwrap();
        assert_eq!(watcher.next().await.unwrap(), Event::Removed(a));
    });
}

#[test]
fn errors_name_the_path() {
    let root = TempDir::new().unwrap();
    let missing = root.path().join("missing");
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    block_on(async {
        let mut watcher = FileWatcher::new().unwrap();
        let error = watcher.watch_file(missing.join("f")).unwrap_err();
        let expected = format!(
            "failed to watch directory '{}': No such file or directory (os error 2)",
            missing.display()
        );
        assert_eq!(error.to_string(), expected);
        let error = watcher.watch_directory(&file).unwrap_err();
        let expected = format!(
            "failed to watch directory '{}': Not a directory (os error 20)",
            file.display()
        );
        assert_eq!(error.to_string(), expected);
        assert!(matches!(
            watcher.watch_file("/").unwrap_err(),
            Error::NoName(_)
        ));
        watcher.watch_file("Cargo.toml").unwrap();
    });
}
