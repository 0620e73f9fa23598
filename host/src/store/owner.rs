//! Whom the store belongs to when it is used through sudo.

use std::path::Path;

pub use crate::fs::Owner;

/// The user behind sudo, if the store is theirs: `uid` and `gid` are the values of `SUDO_UID` and `SUDO_GID` (given only
/// when `SUDO_COMMAND` exists), `home` is the current home folder, and `root` lies below it.
pub fn behind_sudo(uid: Option<&str>, gid: Option<&str>, home: &Path, root: &Path) -> Option<Owner> {
    let owner = Owner {
        uid: uid?.parse().ok()?,
        gid: gid?.parse().ok()?,
    };
    let inside = root != home && root.starts_with(home);
    let their_home = home_of(owner.uid)?;
    (inside && Path::new(&their_home) == home).then_some(owner)
}

/// The home folder of a user, from the password file.
fn home_of(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        let found = fields.next()?.parse() == Ok(uid);
        let home = fields.nth(2)?;
        found.then(|| home.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_store_below_the_users_home_is_theirs() {
        let home = home_of(0).unwrap();
        let (home, root) = (Path::new(&home), Path::new(&home).join(".docker/buildx"));
        assert!(behind_sudo(Some("0"), Some("0"), home, &root).is_some());
        assert!(behind_sudo(Some("0"), Some("0"), home, home).is_none());
        assert!(behind_sudo(Some("0"), Some("0"), Path::new("/elsewhere"), &root).is_none());
        assert!(behind_sudo(Some(""), Some("0"), home, &root).is_none());
        assert!(behind_sudo(None, Some("0"), home, &root).is_none());
    }
}
