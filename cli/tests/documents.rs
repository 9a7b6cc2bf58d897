//! Every command of haul that the documents, the help and the alerts' runbooks show is one.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use haul::door;
use haul_common::filter::Filter;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let found = fs::read_dir(root().join(folder)).unwrap();
    let paths = found.map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| path.to_string_lossy().ends_with(ending);
    paths.filter(named).collect()
}

/// The words of one command, as a shell reads them; what follows it on the line is left out, and so is
/// what may be left out. Variables, and what is to be filled in, stand for names.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '#' | '[') if word.is_none() => break,
            (_, '$') => {}
            (None, '|' | ';' | '&' | '<' | '>' | ')') => break,
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    let place = |word: &String| word.len() > 1 && word.bytes().all(|it| it.is_ascii_uppercase());
    for word in words.iter_mut().filter(|word| place(word)) {
        word.make_ascii_lowercase();
    }
    words
}

/// What is wrong with a command, the program's name left out.
fn wrong(words: &[String]) -> Option<String> {
    if let Err(why) = door::command_line(words.iter().map(String::as_str)) {
        return Some(why);
    }
    let chooses = matches!(words, [job, verb, ..]
        if job == "job" && ["list", "cancel", "retry"].contains(&&**verb));
    let of_filter = |word: &&String| word.contains(':') && chooses;
    let mut filters = words
        .iter()
        .filter(of_filter)
        .map(|word| word.parse::<Filter>());
    filters.find_map(|read| read.err().map(|error| error.to_string()))
}

/// Commands in a line: at its start, behind variables, or behind what runs them in a container.
fn command(line: &str) -> Option<Vec<String>> {
    let line = line.trim().trim_start_matches("docker compose run --rm ");
    let words = words(line);
    let first = words.iter().position(|word| !word.contains('='))?;
    (words[first] == "haul" && words.len() > first + 1).then(|| words[first + 1..].to_vec())
}

fn check(at: &Path, lines: impl Iterator<Item = String>) -> usize {
    let mut seen = 0;
    for line in lines {
        let Some(words) = command(&line) else {
            continue;
        };
        // Tokens of leases, and what other commands print, cannot be made up.
        if ["--lease", "$("].iter().any(|made| line.contains(made)) {
            continue;
        }
        assert_eq!(wrong(&words), None, "{}: {line}", at.display());
        seen += 1;
    }
    seen
}

#[test]
fn what_the_documents_show_can_be_typed() {
    let mut pages = files("docs", ".md");
    pages.extend([
        root().join("README.md"),
        root().join("dashboards/README.md"),
    ]);
    let mut seen = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap().replace("\\\n", " ");
        let (mut within, mut lines) = (false, Vec::new());
        for line in text.lines() {
            if let Some(kind) = line.trim().strip_prefix("```") {
                within = kind == "sh" && !within;
            } else if within {
                lines.push(line.to_owned());
            }
        }
        seen += check(&page, lines.into_iter());
    }
    assert!(seen > 60, "{seen}: are they still written as they were?");
}

#[test]
fn what_the_help_shows_can_be_typed() {
    let mut seen = 0;
    for page in files("tests/golden/help", ".txt") {
        let text = fs::read_to_string(&page).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("  haul "));
        // What it is for follows behind two blanks.
        let shown = lines.map(|line| line.trim().split("  ").next().unwrap().to_owned());
        seen += check(&page, shown);
    }
    assert!(seen > 50, "{seen}: is it still written as it was?");
}

/// They stand in sentences, so that where one ends is told by what can be read.
#[test]
fn what_the_alerts_advise_can_be_typed() {
    let at = root().join("dashboards/prometheus/rules.yml");
    let text = fs::read_to_string(at)
        .unwrap()
        .replace("{{ $labels.queue }}", "mail");
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let commands: Vec<&str> = flat.split("haul ").skip(1).collect();
    for command in &commands {
        let words: Vec<String> = words(command).into_iter().take(8).collect();
        let plain = |n: usize| -> Vec<String> {
            let ends: &[char] = &['.', ',', ':', ')'];
            let mut some = words[..n].to_vec();
            let last = some.last_mut().unwrap();
            *last = last.trim_end_matches(ends).to_owned();
            some
        };
        let longest = (1..=words.len())
            .rev()
            .find(|n| wrong(&plain(*n)).is_none());
        let n = longest.unwrap_or_else(|| panic!("no command: haul {command}"));
        let next = words.get(n).is_some_and(|word| word.starts_with("--"));
        assert!(!next, "no option: haul {command}");
    }
    assert!(commands.len() > 20, "are they still written as they were?");
}
