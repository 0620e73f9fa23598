//! Which contexts the daemon fetches itself: git references and http addresses.

/// Whether the daemon fetches `text` itself. Only lower-case schemes count, as for the daemon.
pub fn is_remote(text: &str) -> bool {
    is_http(text) || is_git(text)
}

/// Whether `text` is an http or https address.
pub fn is_http(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Whether `text` names a git repository.
pub fn is_git(text: &str) -> bool {
    if text.starts_with("./") || text.starts_with("../") {
        return false;
    }
    if text.starts_with("github.com/") || text.starts_with("git://") || text.starts_with("ssh://") {
        return true;
    }
    if is_http(text) {
        let path = text.split(['#', '?']).next().unwrap_or_default();
        return path.ends_with(".git");
    }
    is_scp_like(text)
}

/// Whether a git reference carries its options as a query, which older frontends do not understand.
pub fn has_query(text: &str) -> bool {
    is_git(text)
        && text
            .split('#')
            .next()
            .is_some_and(|address| address.contains('?'))
}

/// `user@host:path`, as ssh writes it.
fn is_scp_like(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else {
        return false;
    };
    let Some((host, _)) = rest.split_once(':') else {
        return false;
    };
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_host = |host: &str| {
        !host.is_empty()
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
    };
    !user.is_empty() && user.chars().all(word) && is_host(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_references_are_recognised() {
        for text in [
            "github.com/a/b",
            "git@github.com:a/b.git",
            "git://host/a",
            "ssh://git@host/a",
            "https://host/a.git",
            "https://host/a.git#main:sub",
            "http://host/a.git?ref=v1",
        ] {
            assert!(is_git(text), "{text}");
        }
        for text in [
            ".",
            "./github.com/a",
            "../a",
            "https://host/a.tar.gz",
            "dir/a@b",
            "HTTPS://host/a.git",
            "a@b/c:d",
        ] {
            assert!(!is_git(text), "{text}");
        }
    }

    #[test]
    fn http_archives_are_remote_but_not_git() {
        assert!(is_remote("https://host/a.tar.gz"));
        assert!(!is_remote("HTTPS://host/a.tar.gz"));
    }

    #[test]
    fn queries_are_seen_before_the_fragment_only() {
        assert!(has_query("https://host/a.git?ref=v1#x"));
        assert!(!has_query("https://host/a.git#x?y"));
        assert!(!has_query("https://host/a.tar?x"));
    }
}
