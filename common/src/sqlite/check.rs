//! What `haul doctor` says about the file.

use std::{fs, path::Path};

use rusqlite::Connection;

use super::{Inner, fault::Fault, schema};
use crate::ports::{Finding, Level};

/// A log larger than this is not being emptied.
const WAL_BYTES_MAX: u64 = 256 << 20;
/// Pages that are looked at in full; a larger file is only looked at in part.
const CHECKED_BYTES_MAX: u64 = 1 << 30;

/// Looks at the file, its log, its place and its content.
pub(super) async fn look(inner: &Inner) -> Vec<Finding> {
    let path = inner.path.clone();
    let looking = inner.readers.read(move |db| findings(db, &path)).await;
    looking.unwrap_or_else(|fault| {
        let error = fault.store(&inner.path).to_string();
        vec![finding(Level::Broken, "SQLite file", error)]
    })
}

fn finding(level: Level, subject: &str, detail: String) -> Finding {
    Finding {
        level,
        subject: subject.to_owned(),
        detail,
    }
}

fn findings(db: &Connection, path: &Path) -> Result<Vec<Finding>, Fault> {
    let bytes = size(path);
    let detail = format!(
        "{}, {}, SQLite {}, format {}",
        path.display(),
        mebibytes(bytes),
        rusqlite::version(),
        schema::VERSION
    );
    let mut found = vec![finding(Level::Fine, "SQLite file", detail)];
    found.push(log(path));
    found.extend(place(path));
    found.push(content(db, bytes)?);
    Ok(found)
}

fn log(path: &Path) -> Finding {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    let bytes = size(Path::new(&name));
    let detail = mebibytes(bytes);
    if bytes <= WAL_BYTES_MAX {
        return finding(Level::Fine, "write-ahead log", detail);
    }
    let hint = format!("{detail}: a program that reads keeps it from being emptied; end it");
    finding(Level::Warning, "write-ahead log", hint)
}

/// WAL needs memory that all processes share, so the disk must be this host's own.
fn place(path: &Path) -> Option<Finding> {
    let path = fs::canonicalize(path).ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let kind = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(at, _)| path.starts_with(at))
        .max_by_key(|(at, _)| at.len())?
        .1;
    let is_remote = ["nfs", "cifs", "smb", "9p", "fuse.sshfs", "ceph", "gluster"]
        .iter()
        .any(|remote| kind.starts_with(remote));
    Some(if is_remote {
        let detail = format!("{kind} is a network file system; put the file on a local disk");
        finding(Level::Broken, "file system", detail)
    } else {
        finding(Level::Fine, "file system", kind.to_owned())
    })
}

fn content(db: &Connection, bytes: u64) -> Result<Finding, Fault> {
    if bytes > CHECKED_BYTES_MAX {
        let detail = "not looked at, the file is large; `PRAGMA quick_check` does it".to_owned();
        return Ok(finding(Level::Fine, "content", detail));
    }
    let said: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(if said == "ok" {
        finding(Level::Fine, "content", "sound".to_owned())
    } else {
        let hint = "restore a copy, or save what is left with `sqlite3 FILE .recover`";
        finding(Level::Broken, "content", format!("{said}; {hint}"))
    })
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |it| it.len())
}

fn mebibytes(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20)
}
