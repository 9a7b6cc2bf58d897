//! Text and JSON with places for the fields of a row: `{name}`, and `{name:json}` for a field whose
//! text is JSON itself. `{{` and `}}` stand for braces.

use haul_common::job::Json;
use serde_json::Value;

use super::rows::Row;

/// Text with places.
#[derive(Debug, Clone)]
pub(super) struct Text(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field { name: String, is_json: bool },
}

/// Why a row does not fill a place: which field, and what is wrong with it.
pub(super) type Unfit = (String, String);

impl Text {
    /// Reads a text with places.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = vec![Part::Text(String::new())];
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            push(&mut parts, &rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                push(&mut parts, brace);
                rest = after;
            } else if brace == "{"
                && let Some((name, after)) = rest.split_once('}')
            {
                let (name, is_json) = match name.strip_suffix(":json") {
                    Some(name) => (name, true),
                    None => (name, false),
                };
                let name = name.to_owned();
                parts.push(Part::Field { name, is_json });
                rest = after;
            } else {
                return Err(format!(
                    "`{text}` has a single `{brace}`; write {{name}} for a field, {brace}{brace} \
                     for a brace"
                ));
            }
        }
        push(&mut parts, rest);
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Ok(Self(parts))
    }

    /// The fields it has places for.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Field { name, .. } => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text for a row.
    pub(super) fn fill(&self, row: &Row) -> Result<String, Unfit> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Field { name, .. } => filled.push_str(&row.text(name)?),
            }
        }
        Ok(filled)
    }

    /// The same as JSON: a text that is one place takes the field as it is.
    fn value(&self, row: &Row) -> Result<Json, Unfit> {
        if let [Part::Field { name, is_json }] = self.0.as_slice() {
            let field = row.field(name)?;
            if !is_json {
                return Ok(field.clone());
            }
            let text = row.text(name)?;
            return serde_json::from_str(text.trim()).map_err(|_| {
                let shown: String = text.chars().take(40).collect();
                let what = format!("`{shown}` is not JSON, and {{{name}:json}} wants some");
                (name.clone(), what)
            });
        }
        let text = self.fill(row)?;
        serde_json::value::to_raw_value(&text).map_err(|error| (String::new(), error.to_string()))
    }
}

fn push(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Text(last)) => last.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

/// JSON whose texts have places.
#[derive(Debug, Clone)]
pub(super) enum Template {
    Text(Text),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
    Other(Value),
}

impl Template {
    /// Reads JSON with places in its texts.
    pub(super) fn of(value: Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::Text(Text::parse(&text)?),
            Value::Array(list) => {
                Self::List(list.into_iter().map(Self::of).collect::<Result<_, _>>()?)
            }
            Value::Object(object) => {
                let pair = |(key, value)| Ok::<_, String>((key, Self::of(value)?));
                Self::Object(object.into_iter().map(pair).collect::<Result<_, _>>()?)
            }
            other => Self::Other(other),
        })
    }

    /// The fields it has places for.
    pub(super) fn fields(&self) -> Vec<&str> {
        match self {
            Self::Text(text) => text.fields().collect(),
            Self::List(list) => list.iter().flat_map(Self::fields).collect(),
            Self::Object(object) => object.iter().flat_map(|(_, it)| it.fields()).collect(),
            Self::Other(_) => Vec::new(),
        }
    }

    /// The JSON for a row.
    pub(super) fn fill(&self, row: &Row) -> Result<String, Unfit> {
        Ok(match self {
            Self::Text(text) => text.value(row)?.get().to_owned(),
            Self::Other(value) => value.to_string(),
            Self::List(list) => {
                let parts: Vec<_> = list
                    .iter()
                    .map(|part| part.fill(row))
                    .collect::<Result<_, _>>()?;
                format!("[{}]", parts.join(","))
            }
            Self::Object(object) => {
                let pair = |(key, part): &(String, Self)| {
                    let key = Value::from(key.as_str());
                    Ok(format!("{key}:{}", part.fill(row)?))
                };
                let pairs: Vec<_> = object.iter().map(pair).collect::<Result<_, Unfit>>()?;
                format!("{{{}}}", pairs.join(","))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let fields = [("to", "\"a@b\""), ("n", "\"7\""), ("list", "[1, 2]")];
        let fields = fields.map(|(name, json)| (name.to_owned(), serde_json::from_str(json)));
        Row {
            line: 1,
            fields: fields
                .into_iter()
                .map(|(name, json)| (name, json.unwrap()))
                .collect(),
        }
    }

    fn filled(template: &str) -> Result<String, Unfit> {
        Template::of(serde_json::from_str(template).unwrap())
            .unwrap()
            .fill(&row())
    }

    #[test]
    fn places_take_fields_as_they_are_as_text_or_as_json() {
        for (template, expected) in [
            (r#"{"to":"{to}"}"#, r#"{"to":"a@b"}"#),
            (r#"["Hello {to}, {n}", true]"#, r#"["Hello a@b, 7",true]"#),
            (r#"{"n":"{n:json}","s":"{n}"}"#, r#"{"n":7,"s":"7"}"#),
            (r#"["{list}", "a{list}"]"#, r#"[[1, 2],"a[1, 2]"]"#),
            (r#""{{{n}}}""#, r#""{7}""#),
        ] {
            assert_eq!(filled(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_does_not_fit_names_its_field() {
        let (field, what) = filled(r#""{who}""#).unwrap_err();
        assert_eq!(field, "who");
        assert!(what.contains("missing"), "{what}");
        assert_eq!(filled(r#""{to:json}""#).unwrap_err().0, "to");
        for wrong in ["{", "a}", "{a", "{{}"] {
            assert!(Text::parse(wrong).is_err(), "{wrong}");
        }
    }
}
