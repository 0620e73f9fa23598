//! The module boundaries, checked in the source text: a shortcut across one of them fails here, with its place.

use std::path::Path;

/// A word that may stand only in some places.
struct Boundary {
    /// Words, each beginning where no name goes on.
    words: &'static [&'static str],
    /// Paths below `src` that may use them.
    within: &'static [&'static str],
    why: &'static str,
}

const BOUNDARIES: &[Boundary] = &[
    Boundary {
        words: &["clap"],
        within: &["cli.rs", "cli/"],
        why: "what can be typed ends in plain requests",
    },
    Boundary {
        words: &["crate::cli"],
        within: &["cli.rs", "cli/"],
        why: "nothing knows the command line that asks for it",
    },
    Boundary {
        words: &["wasmtime"],
        within: &["driver.rs", "driver/"],
        why: "the component host is one room",
    },
    Boundary {
        words: &["tonic", "bkhost_proto"],
        within: &["connect.rs", "connect/", "buildkit.rs", "buildkit/"],
        why: "the wire ends in plain types",
    },
    Boundary {
        words: &[
            "println!",
            "print!",
            "eprintln!",
            "eprint!",
            "io::stdout",
            "io::stderr",
            "std::io::IsTerminal",
            "crossterm",
        ],
        // The keeper's child has no terminal: what it says before it becomes the daemon belongs into the daemon's log.
        within: &["ui.rs", "progress.rs", "progress/", "keeper/exec.rs"],
        why: "there is one door to the terminal",
    },
];

/// The rooms of a build in their order: a later one knows nothing of an earlier one. `docker` stands between the docker
/// client's files in `store` and `driver`; `acquire` stands between `driver` and `buildkit`, and uses both.
const CHAIN: &[&str] = &[
    "cli", "store", "docker", "driver", "acquire", "connect", "plan", "buildkit", "progress", "output",
];
/// What a room may use of an earlier one all the same, because it is built on it.
const FOUNDATIONS: &[(&str, &str)] = &[
    ("docker", "store"),
    ("driver", "docker"),
    ("acquire", "driver"),
    ("buildkit", "connect"),
];

/// Every source file: path below `src`, text.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = walkdir::WalkDir::new(&root).into_iter().map(Result::unwrap);
    files
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "rs")
        })
        .map(|entry| {
            let path = entry.path().strip_prefix(&root).unwrap();
            (
                path.to_string_lossy().into_owned(),
                std::fs::read_to_string(entry.path()).unwrap(),
            )
        })
        .filter(|(path, _)| path != "boundaries.rs" && path != "main.rs")
        .collect()
}

/// Places of `word` in code as `path:line`.
fn places(path: &str, text: &str, word: &str) -> Vec<String> {
    let code = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.filter(|(_, line)| has_word(line, word))
        .map(|(number, _)| format!("{path}:{}", number + 1))
        .collect()
}

fn has_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let continues = word.ends_with(is_name) && after.is_some_and(is_name);
        !(continues || before.is_some_and(is_name))
    })
}

#[test]
fn every_boundary_is_kept() {
    let sources = sources();
    assert!(sources.len() > 100, "no sources");
    for Boundary { words, within, why } in BOUNDARIES {
        let outside = sources
            .iter()
            .filter(|(path, _)| !within.iter().any(|allowed| path.starts_with(allowed)));
        let crossed: Vec<String> = outside
            .flat_map(|(path, text)| words.iter().flat_map(move |word| places(path, text, word)))
            .collect();
        assert!(
            crossed.is_empty(),
            "{words:?} outside {within:?} ({why}): {crossed:#?}"
        );
    }
}

#[test]
fn later_rooms_know_nothing_of_earlier_ones() {
    for (path, text) in sources() {
        let room = path.split(['/', '.']).next().unwrap();
        let Some(position) = CHAIN.iter().position(|name| *name == room) else {
            continue;
        };
        for earlier in &CHAIN[..position] {
            if !FOUNDATIONS.contains(&(room, earlier)) {
                let crossed = places(&path, &text, &format!("crate::{earlier}"));
                assert!(crossed.is_empty(), "`{room}` knows `{earlier}`: {crossed:?}");
            }
        }
    }
}

#[test]
fn a_word_is_found_whole_and_in_code_only() {
    assert_eq!(places("p", "// clap\nuse clap::Arg;\n", "clap"), ["p:2"]);
    assert!(places("p", "let clapped = 1; // x\n", "clap").is_empty());
    assert_eq!(places("p", "    eprintln!(\"x\")\n", "eprintln!"), ["p:1"]);
    assert!(places("p", "    eprintln!(\"x\")\n", "println!").is_empty());
}
