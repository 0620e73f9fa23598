//! A store in the home of the user who called sudo stays that user's.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use crate::scripted::Scripted;
use crate::sealed::Sealed;

/// The home folder of this user, as the password file says it: only what lies below it is given away.
fn known_home() -> PathBuf {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let mut homes = users.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields[2] == uid).then(|| PathBuf::from(fields[5]))
    });
    homes.next().unwrap()
}

/// A group that the files get if all goes well: root can give them to a stranger's.
fn group() -> u32 {
    if rustix::process::geteuid().is_root() {
        12_346
    } else {
        rustix::process::getegid().as_raw()
    }
}

fn groups_of(sealed: &Sealed) -> Vec<(PathBuf, u32)> {
    let made = walkdir::WalkDir::new(sealed.home()).min_depth(1).into_iter();
    made.map(|entry| {
        let entry = entry.unwrap();
        let group = entry.metadata().unwrap().gid();
        (entry.into_path(), group)
    })
    .collect()
}

fn sealed_below_home() -> Sealed {
    let home = known_home();
    let sealed = Sealed::below(&home);
    let place = |name: &str| sealed.home().join(name).display().to_string();
    let (docker, store) = (place("docker"), place("config/buildx"));
    sealed
        .with("HOME", &home.display().to_string())
        .with("DOCKER_CONFIG", &docker)
        .with("BUILDX_CONFIG", &store)
        .with("SUDO_UID", &rustix::process::geteuid().as_raw().to_string())
        .with("SUDO_GID", &group().to_string())
}

fn use_store(sealed: &Sealed) {
    let drivers = Scripted::default();
    for line in [
        "create --name ci --driver remote tcp://a:1/down",
        "create --name ci --append tcp://b:1/down",
        "create --name here --driver process --use",
        "use --default here",
        "use --global ci",
        "create --name ci --leave --node ci0",
        "create --name gone --driver process",
        "rm gone",
        "install",
    ] {
        let _ = sealed.run(&drivers, line).ok();
    }
}

#[test]
fn through_sudo_everything_belongs_to_the_caller() {
    let sealed = sealed_below_home().with("SUDO_COMMAND", "/usr/bin/bkhost");
    use_store(&sealed);
    let made = groups_of(&sealed);
    assert!(made.len() > 10, "{made:?}");
    for (path, found) in made {
        assert_eq!(found, group(), "{}", path.display());
    }
}

#[test]
fn without_sudo_nothing_is_given_away() {
    let sealed = sealed_below_home();
    use_store(&sealed);
    let own = rustix::process::getegid().as_raw();
    for (path, found) in groups_of(&sealed) {
        assert_eq!(found, own, "{}", path.display());
    }
}
