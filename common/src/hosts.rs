//! URLs that name several hosts: `scheme://user:password@a:1,b:2/path?query`.

/// The same URL for each of its hosts.
pub(crate) fn one_each(url: &str) -> Vec<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, hosts) = match authority.rfind('@') {
        Some(at) => authority.split_at(at + 1),
        None => ("", authority),
    };
    hosts
        .split(',')
        .map(|host| format!("{scheme}://{user}{host}{path}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::one_each;

    #[test]
    fn each_host_gets_all_that_is_around_the_hosts() {
        assert_eq!(
            one_each("amqp://me:a,b@x:1,[::1]:2/v?heartbeat=3"),
            [
                "amqp://me:a,b@x:1/v?heartbeat=3",
                "amqp://me:a,b@[::1]:2/v?heartbeat=3"
            ]
        );
        assert_eq!(one_each("redis://x"), ["redis://x"]);
    }
}
