//! Dashboards, alert rules and the guide speak of metrics that there are, by labels that they have.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::{collections::BTreeSet, fs, path::Path};

use haul_common::metrics::{Family, Kind, LIST, Source};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every query of the dashboards, with where it stands.
fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for entry in fs::read_dir(root().join("dashboards/grafana")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "json") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let dashboard: Value =
                serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(
                dashboard["uid"],
                name.as_str(),
                "fixed, as links count on it"
            );
            gather(&dashboard, &name, &mut queries);
        }
    }
    assert!(queries.len() > 50, "only {} queries", queries.len());
    queries
}

fn gather(value: &Value, place: &str, queries: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            let title = fields.get("title").and_then(Value::as_str);
            let place = title.map_or(place.to_owned(), |title| format!("{place}: {title}"));
            for (name, value) in fields {
                let asks = matches!(name.as_str(), "expr" | "definition");
                match value.as_str() {
                    Some(text) if asks => queries.push((place.clone(), text.to_owned())),
                    _ => gather(value, &place, queries),
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                gather(value, place, queries);
            }
        }
        _ => {}
    }
}

/// Words that begin with `haul_`, each with what follows it.
fn names(text: &str) -> Vec<(&str, &str)> {
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = text.match_indices("haul_").map(|(at, _)| at);
    starts
        .filter(|at| !text[..*at].ends_with(in_name))
        .map(|at| {
            let end = text[at..].find(|c| !in_name(c));
            text[at..].split_at(end.unwrap_or(text.len() - at))
        })
        .collect()
}

fn family(name: &str) -> Option<&'static Family> {
    LIST.iter().find(|family| match family.kind {
        Kind::Histogram => {
            let rest = name.strip_prefix(family.name);
            matches!(rest, Some("_bucket" | "_sum" | "_count"))
        }
        _ => name == family.name,
    })
}

/// Labels in the braces that follow a name.
fn labels(after: &str) -> Vec<&str> {
    let inside = after
        .strip_prefix('{')
        .and_then(|rest| rest.split_once('}'));
    let matchers = inside.map_or("", |(inside, _)| inside).split(", ");
    matchers
        .filter_map(|matcher| matcher.split(['=', '!']).next())
        .filter(|label| !label.is_empty())
        .collect()
}

fn check(place: &str, query: &str) {
    for (name, after) in names(query) {
        let Some(family) = family(name) else {
            panic!("{place}: there is no metric `{name}`");
        };
        for label in labels(after) {
            let known = family.labels.contains(&label) || label == "le";
            assert!(known, "{place}: `{name}` has no label `{label}`");
        }
    }
}

#[test]
fn dashboards_name_metrics_that_exist() {
    for (place, query) in queries() {
        check(&place, &query);
    }
}

#[test]
fn alert_rules_name_metrics_that_exist() {
    for file in ["rules.yml", "rules_test.yml"] {
        let text = read(&format!("dashboards/prometheus/{file}"));
        // Of tests, what follows `alertname` and the like is no metric; no such word begins so.
        check(file, &text);
        assert!(names(&text).len() > 20, "{file}");
    }
}

/// Added up over several exporters, the fleet would seem several times as large.
#[test]
fn what_is_of_the_whole_fleet_is_never_summed_over_exporters() {
    let rules = (
        "rules.yml".to_owned(),
        read("dashboards/prometheus/rules.yml"),
    );
    for (place, query) in queries().into_iter().chain([rules]) {
        for family in LIST
            .iter()
            .filter(|family| family.source == Source::Exporter)
        {
            for at in query.match_indices(family.name).map(|(at, _)| at) {
                let before = query[..at].trim_end_matches(['(', ' ', '-', '1']);
                let clause = before.rsplit("sum").next().unwrap();
                let summed = before.len() > clause.len() && !clause.contains("max");
                assert!(!summed, "{place}: {} in {query}", family.name);
            }
        }
    }
}

#[test]
fn every_metric_is_in_the_guide_as_it_is() {
    let guide = read("docs/metrics.md");
    let rows: BTreeSet<&str> = guide
        .lines()
        .filter(|line| line.starts_with("| `haul_"))
        .collect();
    let wanted: Vec<String> = LIST.iter().map(row).collect();
    let wanted: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
    let missing: Vec<_> = wanted.difference(&rows).collect();
    let strange: Vec<_> = rows.difference(&wanted).collect();
    assert!(
        missing.is_empty() && strange.is_empty(),
        "docs/metrics.md lacks:\n{missing:#?}\nand has, wrongly:\n{strange:#?}"
    );
}

fn row(family: &Family) -> String {
    let kind = format!("{:?}", family.kind).to_lowercase();
    let labels: Vec<String> = family
        .labels
        .iter()
        .map(|label| format!("`{label}`"))
        .collect();
    let from = match family.source {
        Source::Process => "process",
        Source::Exporter => "exporter",
    };
    let labels = labels.join(", ");
    format!(
        "| `{}` | {kind} | {labels} | {from} | {} |",
        family.name, family.help
    )
}
