//! `--results DIR`: a folder for each item, with what it printed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use sha2::{Digest, Sha256};

use super::ended::Ended;

const NAME_BYTES_MAX: usize = 100;

/// A folder of results.
#[derive(Debug)]
pub(super) struct Results(PathBuf);

impl Results {
    /// Makes the folder.
    ///
    /// # Errors
    /// When that is not possible.
    pub(super) fn new(dir: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&dir)
            .with_context(|| format!("cannot make the folder for --results, {}", dir.display()))?;
        Ok(Self(dir))
    }

    /// Writes what an item left behind.
    ///
    /// # Errors
    /// When the disk is full, for example.
    pub(super) fn write(&self, item: &str, number: u64, ended: &Ended) -> anyhow::Result<()> {
        let dir = self.0.join(folder(item));
        files(&dir, number, ended).with_context(|| format!("cannot write to {}", dir.display()))
    }
}

fn files(dir: &Path, number: u64, ended: &Ended) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join("stdout"), &ended.stdout)?;
    fs::write(dir.join("stderr"), &ended.stderr)?;
    fs::write(dir.join("seq"), format!("{number}\n"))?;
    // Last: where there is an exit code, the rest is whole.
    fs::write(dir.join("exit"), format!("{}\n", ended.code))
}

/// By the item and not by its number, so that a later run with other items overwrites nothing
/// else. What cannot stand in a name becomes `_`, and a hash tells such names apart.
fn folder(item: &str) -> String {
    let safe = |c: char| c.is_alphanumeric() || " .,_+=@%:#~-".contains(c);
    let mut name: String = item
        .chars()
        .map(|c| if safe(c) { c } else { '_' })
        .collect();
    let is_as_it_was = name == item && !name.starts_with('.') && !name.is_empty();
    if is_as_it_was && name.len() <= NAME_BYTES_MAX {
        return name;
    }
    while name.len() > NAME_BYTES_MAX {
        name.pop();
    }
    let hash = Sha256::digest(item.as_bytes());
    let hash: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hash}", name.trim_start_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_by_items_and_stay_where_they_belong() {
        assert_eq!(folder("a b.txt"), "a b.txt");
        assert!(folder("in/a.png").starts_with("in_a.png-"));
        assert_ne!(folder("a/b"), folder("a_b"));
        for item in ["..", "../x", "", "/", &"x".repeat(300)] {
            let name = folder(item);
            assert!(!name.starts_with('.') && !name.contains('/'), "{name}");
            assert!(!name.is_empty() && name.len() < 120, "{name}");
        }
    }
}
