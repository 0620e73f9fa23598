//! What a login sets in the environment, and a timer, `su` or a container does not.

use std::ffi::OsStr;
use std::path::Path;

/// The accounts of the machine.
pub const ACCOUNTS: &str = "/etc/passwd";

/// The value for `USER` where `given` says nothing, or says that this is root although it is the user `uid`: buildkitd in
/// a user namespace tells by it whether it may use root's folders, and fails in them. Names come from `accounts`.
pub fn user(uid: u32, given: Option<&OsStr>, accounts: &Path) -> Option<String> {
    let misleading = given.is_none_or(|name| name.is_empty() || name == "root");
    if uid == 0 || !misleading {
        return None;
    }
    let accounts = std::fs::read_to_string(accounts).unwrap_or_default();
    Some(name_of(uid, &accounts).unwrap_or_else(|| uid.to_string()))
}

fn name_of(uid: u32, accounts: &str) -> Option<String> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id: u32 = fields.nth(1)?.parse().ok()?;
        (id == uid).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_a_login_gets_the_name_of_the_account() {
        let dir = tempfile::tempdir().unwrap();
        let accounts = dir.path().join("passwd");
        let lines = "root:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1000:1000:Ann:/home/ann:/bin/sh\n";
        std::fs::write(&accounts, lines).unwrap();
        let user = |uid, given: Option<&str>| user(uid, given.map(OsStr::new), &accounts);
        for misleading in [None, Some(""), Some("root")] {
            assert_eq!(user(1000, misleading).as_deref(), Some("ann"));
            assert_eq!(user(1001, misleading).as_deref(), Some("1001"));
            assert_eq!(user(0, misleading), None);
        }
        assert_eq!(user(1000, Some("bob")), None);
    }
}
