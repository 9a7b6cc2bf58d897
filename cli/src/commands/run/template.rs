//! The places in a command that an item fills.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::source::Item;

/// The columns of an item, by name.
pub(super) type Columns = Map<String, Value>;

/// Text with places in it.
#[derive(Debug, Clone)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Place(Place),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Item,
    WithoutExtension,
    Name,
    Directory,
    NameWithoutExtension,
    Number,
    Column(String),
}

impl Template {
    /// Reads text. `{word}` is a column only where items have columns: else it is left as it is.
    pub(super) fn parse(text: &str, has_columns: bool) -> Self {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(open) = rest.find('{') {
            plain.push_str(&rest[..open]);
            rest = &rest[open..];
            let end = rest.find('}').unwrap_or(0);
            match place(rest.get(1..end).unwrap_or("{"), has_columns) {
                Some(place) => {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                    parts.push(Part::Place(place));
                    rest = &rest[end + 1..];
                }
                None => {
                    plain.push('{');
                    rest = &rest[1..];
                }
            }
        }
        parts.push(Part::Text(plain + rest));
        Self(parts)
    }

    /// The item, and nothing else.
    pub(super) fn item() -> Self {
        Self(vec![Part::Place(Place::Item)])
    }

    /// Whether an item changes it.
    pub(super) fn has_places(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Place(_)))
    }

    /// The text for an item.
    ///
    /// # Errors
    /// When it names a column that the item does not have.
    pub(super) fn fill(&self, item: &Item, columns: Option<&Columns>) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Place(place) => text.push_str(&place.text(item, columns)?),
            }
        }
        Ok(text)
    }
}

fn place(word: &str, has_columns: bool) -> Option<Place> {
    Some(match word {
        "" => Place::Item,
        "." => Place::WithoutExtension,
        "/" => Place::Name,
        "//" => Place::Directory,
        "/." => Place::NameWithoutExtension,
        "#" => Place::Number,
        _ if has_columns && is_name(word) => Place::Column(word.to_owned()),
        _ => return None,
    })
}

/// `{ print $1 }` and `{a,b}` are none.
fn is_name(word: &str) -> bool {
    let ends = |end: Option<char>| end.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let inner = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
    ends(word.chars().next()) && ends(word.chars().next_back()) && word.chars().all(inner)
}

impl Place {
    fn text<'i>(
        &self,
        item: &'i Item,
        columns: Option<&'i Columns>,
    ) -> Result<Cow<'i, str>, String> {
        let path = item.text.as_str();
        Ok(match self {
            Self::Item => path.into(),
            Self::WithoutExtension => without_extension(path).into(),
            Self::Name => name(path).into(),
            Self::Directory => directory(path).into(),
            Self::NameWithoutExtension => without_extension(name(path)).into(),
            Self::Number => item.number.to_string().into(),
            Self::Column(column) => match columns.and_then(|columns| columns.get(column)) {
                Some(Value::String(text)) => text.into(),
                Some(Value::Null) => "".into(),
                Some(value) => value.to_string().into(),
                None => return Err(no_column(column, columns)),
            },
        })
    }
}

fn no_column(column: &str, columns: Option<&Columns>) -> String {
    let names: Vec<&str> = columns
        .into_iter()
        .flat_map(|columns| columns.keys().map(String::as_str))
        .collect();
    match names.is_empty() {
        true => format!("the command names {{{column}}}, and this item has no columns"),
        false => format!(
            "the command names {{{column}}}, and there is no such column; there is: {}",
            names.join(", ")
        ),
    }
}

fn name(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rfind('/').map_or(path, |at| &path[at + 1..])
}

fn directory(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    match path.rfind('/') {
        Some(0) => "/",
        Some(at) => &path[..at],
        None => ".",
    }
}

/// A name that begins with a dot is no extension.
fn without_extension(path: &str) -> &str {
    let start = path.rfind('/').map_or(0, |at| at + 1);
    match path[start..].rfind('.') {
        Some(dot) if dot > 0 => &path[..start + dot],
        _ => path,
    }
}

/// A word as a shell would have to be given it.
pub(super) fn quoted(word: &str) -> Cow<'_, str> {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, item: &str) -> String {
        let item = Item {
            number: 7,
            line: 0,
            text: item.to_owned(),
            print: None,
            json: None,
        };
        Template::parse(template, false).fill(&item, None).unwrap()
    }

    #[test]
    fn places_are_those_of_parallel() {
        let of = |item: &str| filled("{} {.} {/} {//} {/.} {#}", item);
        assert_eq!(
            of("d.x/b.tar.gz"),
            "d.x/b.tar.gz d.x/b.tar b.tar.gz d.x b.tar 7"
        );
        assert_eq!(of("b"), "b b b . b 7");
        assert_eq!(of("/.rc"), "/.rc /.rc .rc / .rc 7");
    }

    #[test]
    fn a_place_may_stand_within_a_word_and_other_braces_stay() {
        assert_eq!(filled("out/{/.}.png", "in/a.jpg"), "out/a.png");
        assert_eq!(
            filled("{print $1} ${HOME} {a,b} {{}} {", "x"),
            "{print $1} ${HOME} {a,b} {x} {"
        );
        assert_eq!(filled("{name}", "x"), "{name}", "no columns here");
    }

    #[test]
    fn columns_are_named_and_a_missing_one_is_told() {
        let item = Item {
            number: 1,
            line: 0,
            text: String::new(),
            print: None,
            json: None,
        };
        let columns: Columns =
            serde_json::from_str(r#"{"id": 5, "to": "a b", "x": null}"#).unwrap();
        let fill = |text| Template::parse(text, true).fill(&item, Some(&columns));
        assert_eq!(fill("{id}/{to}{x}").unwrap(), "5/a b");
        let error = fill("{too}").unwrap_err();
        assert!(
            error.contains("{too}") && error.contains("id, to, x"),
            "{error}"
        );
    }

    #[test]
    fn quoted_words_are_one_word_for_a_shell() {
        assert_eq!(quoted("a/b-c.d"), "a/b-c.d");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
