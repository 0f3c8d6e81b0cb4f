//! Log files: one per severity, each with the lines of its own severity and above.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::Local;
use nix::unistd::{Uid, User, gethostname};

use super::Severity;

/// Size in MiB after which a new file begins, the default of glog.
pub(super) const FILE_MEBIBYTES_MAX: u32 = 1800;

/// The files of all severities.
pub(super) struct Files {
    files: Vec<LogFile>,
    flush_interval: Duration,
}

/// What the names of files are made of, and when a new one begins.
#[derive(Clone)]
struct Naming {
    folder: PathBuf,
    program: String,
    host: String,
    user: String,
    bytes_max: u64,
}

/// The file of one severity; begun by its first line.
struct LogFile {
    naming: Naming,
    severity: Severity,
    writer: Option<BufWriter<File>>,
    bytes: u64,
    flushed: Instant,
}

impl Files {
    /// Prepares files in a folder, which is created if need be, for severities from `level` on. Lines below
    /// WARNING may wait `flush_seconds` in memory.
    pub(super) fn open(
        folder: &Path,
        program: &str,
        level: Severity,
        flush_seconds: u64,
        max_mebibytes: u32,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let host = gethostname().ok().and_then(|host| host.into_string().ok());
        let user = User::from_uid(Uid::current()).ok().flatten();
        let naming = Naming {
            folder: folder.into(),
            program: program.into(),
            host: host.unwrap_or_else(|| "(unknown)".into()),
            user: user.map_or_else(|| "invalid-user".into(), |user| user.name),
            bytes_max: u64::from(max_mebibytes.max(1)) << 20,
        };
        let severities = [Severity::Info, Severity::Warning, Severity::Error];
        let mut files: Vec<LogFile> = severities
            .into_iter()
            .filter(|severity| *severity >= level)
            .map(|severity| LogFile::new(naming.clone(), severity))
            .collect();
        // A folder that cannot be written to must be known at the start.
        if let Some(first) = files.first_mut() {
            first.begin()?;
        }
        Ok(Self {
            files,
            flush_interval: Duration::from_secs(flush_seconds),
        })
    }

    /// Writes a line to the files of its severity and below.
    pub(super) fn write(&mut self, severity: Severity, line: &[u8]) -> io::Result<()> {
        for file in &mut self.files {
            if file.severity <= severity {
                file.write(line)?;
                let waited = file.flushed.elapsed() >= self.flush_interval;
                if severity > Severity::Info || waited {
                    file.flush()?;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for file in &mut self.files {
            let _ = file.flush();
        }
    }
}

impl LogFile {
    fn new(naming: Naming, severity: Severity) -> Self {
        Self {
            naming,
            severity,
            writer: None,
            bytes: 0,
            flushed: Instant::now(),
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes >= self.naming.bytes_max {
            self.flush()?;
            self.writer = None;
        }
        if self.writer.is_none() {
            self.begin()?;
        }
        if let Some(writer) = &mut self.writer {
            writer.write_all(line)?;
            self.bytes += line.len() as u64;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushed = Instant::now();
        self.writer.as_mut().map_or(Ok(()), Write::flush)
    }

    /// Begins a new file and lets the link without date point to it.
    fn begin(&mut self) -> io::Result<()> {
        let Naming {
            folder,
            program,
            host,
            user,
            ..
        } = &self.naming;
        let now = Local::now();
        let severity = self.severity.name();
        let name = format!(
            "{program}.{host}.{user}.log.{severity}.{}.{}",
            now.format("%Y%m%d-%H%M%S"),
            std::process::id(),
        );
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(folder.join(&name))?;
        let mut writer = BufWriter::new(file);
        let header = format!(
            "Log file created at: {}\nRunning on machine: {host}\n\
             Log line format: [IWEF]mmdd hh:mm:ss.uuuuuu threadid file:line] msg\n",
            now.format("%Y/%m/%d %H:%M:%S"),
        );
        writer.write_all(header.as_bytes())?;
        writer.flush()?;
        self.bytes = header.len() as u64;
        self.writer = Some(writer);

        let link = folder.join(format!("{program}.{severity}"));
        // The link is a convenience; a file in its place is none of our business.
        if link.is_symlink() {
            let _ = std::fs::remove_file(&link);
        }
        let _ = symlink(&name, &link);
        Ok(())
    }
}
