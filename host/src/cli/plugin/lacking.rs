//! What buildx has and this program has not yet. A test compares it with the real buildx.

use crate::cli::flags::Refusal;

/// A command of buildx that is not here.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// Its other name.
    pub alias: Option<&'static str>,
    /// What it does.
    pub about: &'static str,
}

const fn command(name: &'static str, about: &'static str) -> Command {
    Command {
        name,
        alias: None,
        about,
    }
}

/// The commands, as of buildx 0.37.1.
pub const COMMANDS: [Command; 8] = [
    Command {
        alias: Some("f"),
        ..command("bake", "Build several targets that a file describes")
    },
    command("dap", "Debug a build from an editor"),
    command("debug", "Debug a build"),
    command("du", "Show what the cache takes"),
    command("history", "Work with records of builds"),
    command("imagetools", "Work with images in a registry"),
    command("policy", "Work with policies of builds"),
    command("prune", "Remove cache"),
];

/// The flags of `build`, with what they do.
pub const BUILD_FLAGS: [(&str, &str); 5] = [
    ("--call", "Ask the frontend something instead of building"),
    ("--check", "Check the Dockerfile instead of building"),
    ("--policy", "Apply a policy to sources"),
    ("--resource", "Limit what a step may take"),
    ("--ssh", "Lend an SSH agent or key to steps"),
];

/// Older forms of `--call` and `--resource`, which buildx takes without naming them in its help.
const OLDER_BUILD_FLAGS: [&str; 10] = [
    "--cpu-period",
    "--cpu-quota",
    "--cpu-shares",
    "--cpuset-cpus",
    "--cpuset-mems",
    "--memory",
    "--memory-swap",
    "--print",
    "-c",
    "-m",
];

/// The long ones of them for people; `*` stands for the rest of a name.
const OLDER_FORMS: [&str; 3] = ["--print", "--memory*", "--cpu*"];

/// Everything that is not here, as part of a sentence.
pub fn told() -> String {
    let list = |names: &mut dyn Iterator<Item = &str>| {
        let quoted: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        quoted.join(", ")
    };
    format!(
        "{}, and of `build` the flags {} with their older forms {}",
        list(&mut COMMANDS.iter().map(|command| command.name)),
        list(&mut BUILD_FLAGS.iter().map(|(flag, _)| *flag)),
        list(&mut OLDER_FORMS.into_iter())
    )
}

/// Commands of buildx that are here as well.
const SHARED: [&str; 9] = [
    "build",
    "create",
    "dial-stdio",
    "inspect",
    "ls",
    "rm",
    "stop",
    "use",
    "version",
];

/// A part of the command line that is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A command.
    Command(String),
    /// A flag of a command.
    Flag {
        /// The command.
        command: String,
        /// The flag with its dashes.
        flag: String,
    },
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Command(name) => write!(f, "command `{name}`"),
            Self::Flag { command, flag } => write!(f, "flag `{flag}` of `{command}`"),
        }
    }
}

/// What a refused command line wants of buildx, if buildx is known to have it.
pub fn known(refusal: &Refusal) -> Option<Lack> {
    wanted(refusal).filter(|lack| match lack {
        Lack::Command(word) => is_command(word),
        Lack::Flag { command, flag } => command == "build" && is_build_flag(flag),
    })
}

/// The same, or what buildx may have learnt since: everything that is not just mistyped here.
pub fn possible(refusal: &Refusal) -> Option<Lack> {
    known(refusal).or_else(|| wanted(refusal).filter(|_| !refusal.is_near_miss()))
}

/// Whether this is the name of a command that is not here.
pub fn is_command(word: &str) -> bool {
    COMMANDS
        .iter()
        .any(|command| command.name == word || command.alias == Some(word))
}

fn wanted(refusal: &Refusal) -> Option<Lack> {
    match refusal {
        Refusal::UnknownCommand { word, path, .. } if path.len() == 1 => Some(Lack::Command(word.clone())),
        Refusal::Flag {
            unknown: Some(flag),
            path,
            ..
        } => {
            let command = path.get(1).filter(|command| SHARED.contains(&command.as_str()))?;
            Some(Lack::Flag {
                command: command.clone(),
                flag: flag.clone(),
            })
        }
        _ => None,
    }
}

fn is_build_flag(flag: &str) -> bool {
    BUILD_FLAGS.iter().any(|(name, _)| *name == flag) || OLDER_BUILD_FLAGS.contains(&flag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{args, flags};

    fn refusal(line: &str) -> Refusal {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        flags::normalise(&args::command(), &words).unwrap_err()
    }

    fn lack(line: &str) -> (Option<String>, Option<String>) {
        let refusal = refusal(line);
        let text = |lack: Option<Lack>| lack.map(|lack| lack.to_string());
        (text(known(&refusal)), text(possible(&refusal)))
    }

    #[test]
    fn what_is_listed_is_not_here() {
        let root = args::command();
        for command in COMMANDS {
            assert!(
                root.find_subcommand(command.name).is_none(),
                "{} is here",
                command.name
            );
        }
        let build = root.find_subcommand("build").unwrap();
        let has = |flag: &str| {
            let mut all = build.get_arguments().chain(root.get_arguments());
            all.any(|arg| {
                arg.get_long().is_some_and(|long| format!("--{long}") == flag)
                    || arg.get_short().is_some_and(|short| format!("-{short}") == flag)
            })
        };
        let named = BUILD_FLAGS.iter().map(|(flag, _)| *flag);
        let all: Vec<&str> = named.chain(OLDER_BUILD_FLAGS).filter(|flag| has(flag)).collect();
        assert_eq!(all, [""; 0], "these are here");
        assert!(SHARED.iter().all(|name| root.find_subcommand(name).is_some()));
    }

    #[test]
    fn everything_that_is_not_here_is_told() {
        let told = told();
        let names = COMMANDS.iter().map(|command| command.name);
        for name in names.chain(BUILD_FLAGS.iter().map(|(flag, _)| *flag)) {
            assert!(told.contains(&format!("`{name}`")), "{name}: {told}");
        }
        let is_told = |flag: &str| {
            OLDER_FORMS.iter().any(|form| match form.strip_suffix('*') {
                Some(begin) => flag.starts_with(begin),
                None => flag == *form,
            })
        };
        let untold = OLDER_BUILD_FLAGS.iter().filter(|flag| !is_told(flag));
        assert_eq!(untold.collect::<Vec<_>>(), [&"-c", &"-m"]);
        assert!(
            told.ends_with("`--ssh` with their older forms `--print`, `--memory*`, `--cpu*`"),
            "{told}"
        );
    }

    #[test]
    fn a_lack_is_told_from_a_mistake() {
        let command = |name: &str| Some(format!("command `{name}`"));
        assert_eq!(lack("bake --print"), (command("bake"), command("bake")));
        assert_eq!(lack("--debug f"), (command("f"), command("f")));
        assert_eq!(lack("inspct"), (None, None));
        assert_eq!(lack("reproduce"), (None, command("reproduce")));
        let flag = |name: &str| Some(format!("flag `{name}` of `build`"));
        assert_eq!(lack("build --ssh default ."), (flag("--ssh"), flag("--ssh")));
        assert_eq!(lack("b -m 1g ."), (flag("-m"), flag("-m")));
        assert_eq!(lack("build --platfrom x ."), (None, None));
        assert_eq!(lack("build --hermetic ."), (None, flag("--hermetic")));
        assert_eq!(lack("driver ls --hermetic"), (None, None));
        assert_eq!(lack("driver hermetic"), (None, None));
        assert_eq!(lack("build --tag"), (None, None));
    }
}
