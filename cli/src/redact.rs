//! Keeps passwords out of what is printed.

/// Replaces user and password of every URL in `text` by `***`.
pub(crate) fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        // Passwords may hold `@` and `/`, so that the last `@` before a blank ends them.
        let end = tail.find(|c: char| c.is_whitespace() || matches!(c, '`' | '"' | '\''));
        let (url, after) = tail.split_at(end.unwrap_or(tail.len()));
        match url.rsplit_once('@') {
            Some((_, host)) => out.extend(["***@", host]),
            None => out.push_str(url),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn users_and_passwords_of_urls_are_hidden() {
        assert_eq!(
            redact("`amqp://me:p@ss/w@host/v` and redis://:x@[::1]:6379/0 failed"),
            "`amqp://***@host/v` and redis://***@[::1]:6379/0 failed"
        );
    }

    #[test]
    fn other_text_stays() {
        for text in [
            "me@example.com",
            "amqp://host/v",
            "sqlite:haul.db",
            "a :// b@c",
        ] {
            assert_eq!(redact(text), text);
        }
    }
}
