//! The conventions of Go's flag parser on top of clap's definitions: `--flag=false`, the last value wins, and refusals
//! in the words that scripts around buildx match on.

use clap::{Arg, ArgAction, Command};

use super::values;
use crate::error::{CommandError, ErrorKind};

/// A command line that clap can parse, and the command it names.
#[derive(Debug, PartialEq, Eq)]
pub struct Normal {
    /// Program name and arguments.
    pub arguments: Vec<String>,
    /// Names from the root to the command.
    pub path: Vec<String>,
}

/// A command line that is refused.
#[derive(Debug)]
pub enum Refusal {
    /// A wrong number of arguments, with what is wrong.
    Usage(String),
    /// A flag, or its value.
    Flag {
        /// What is wrong.
        text: String,
        /// A flag that may have been meant.
        near: Option<String>,
        /// The flag with its dashes, when there is none of that name.
        unknown: Option<String>,
        /// Names from the root to the command.
        path: Vec<String>,
    },
    /// The first word is no command; the help of the command is shown before the error.
    UnknownCommand {
        /// The word.
        word: String,
        /// Names from the root to the command.
        path: Vec<String>,
        /// A command that may have been meant.
        near: Option<String>,
    },
}

impl Refusal {
    /// Whether it may well be a known name, mistyped.
    pub fn is_near_miss(&self) -> bool {
        match self {
            Self::Usage(_) => true,
            Self::Flag { near, unknown, .. } => unknown.is_none() || near.is_some(),
            Self::UnknownCommand { near, .. } => near.is_some(),
        }
    }

    /// The same without what may have been meant.
    pub fn without_guess(mut self) -> Self {
        if let Self::Flag { near, .. } | Self::UnknownCommand { near, .. } = &mut self {
            *near = None;
        }
        self
    }

    /// The refusal as it is said.
    pub fn into_error(self) -> CommandError {
        let (text, near) = match self {
            Self::Usage(text) => (text, None),
            Self::Flag { text, near, .. } => (text, near),
            Self::UnknownCommand { word, near, .. } => (format!("unknown command: {word:?}"), near),
        };
        let error = CommandError::new(ErrorKind::Usage, text);
        match near {
            Some(near) => error.with_hint(format!("Did you mean `{near}`?")),
            None => error,
        }
    }
}

struct Walk<'a> {
    command: &'a Command,
    root: &'a Command,
    path: Vec<String>,
    arguments: Vec<String>,
    positionals: usize,
}

/// Checks `arguments` (without the program's name) against `root` and rewrites them for clap.
pub fn normalise(root: &Command, arguments: &[String]) -> Result<Normal, Refusal> {
    let mut walk = Walk {
        command: root,
        root,
        path: vec![root.get_name().to_owned()],
        arguments: vec![root.get_name().to_owned()],
        positionals: 0,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            walk.arguments.push(argument.clone());
            for positional in rest.by_ref() {
                walk.positional(positional)?;
            }
        } else if let Some(long) = argument.strip_prefix("--") {
            walk.long(long, &mut rest)?;
        } else if argument.len() > 1 && argument.starts_with('-') {
            walk.cluster(argument, &mut rest)?;
        } else {
            walk.positional(argument)?;
        }
    }
    walk.check_count()?;
    Ok(Normal {
        arguments: walk.arguments,
        path: walk.path,
    })
}

impl<'a> Walk<'a> {
    fn find(&self, fits: impl Fn(&Arg) -> bool) -> Option<&'a Arg> {
        let own = self.command.get_arguments().find(|arg| fits(arg));
        own.or_else(|| {
            self.root
                .get_arguments()
                .find(|arg| arg.is_global_set() && fits(arg))
        })
    }

    fn long(&mut self, text: &str, rest: &mut std::slice::Iter<'_, String>) -> Result<(), Refusal> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        if name == "help" {
            self.arguments.push("--help".to_owned());
            return Ok(());
        }
        let Some(arg) = self.find(|arg| has_long(arg, name)) else {
            return Err(self.unknown_flag(name));
        };
        let flag = format!("--{}", arg.get_long().unwrap_or(name));
        if is_switch(arg) {
            return self.switch(arg, flag, value);
        }
        let value = match value.map(str::to_owned).or_else(|| rest.next().cloned()) {
            Some(value) => value,
            None => return Err(self.refused(format!("flag needs an argument: --{name}"))),
        };
        self.arguments.push(format!("{flag}={value}"));
        Ok(())
    }

    fn switch(&mut self, arg: &Arg, flag: String, value: Option<&str>) -> Result<(), Refusal> {
        let on = value.map_or(Ok(true), values::boolean);
        let on =
            on.map_err(|error| self.refused(invalid_argument(arg, value.unwrap_or_default(), &error)))?;
        self.arguments.retain(|argument| *argument != flag);
        if on {
            self.arguments.push(flag);
        }
        Ok(())
    }

    fn cluster(&mut self, text: &str, rest: &mut std::slice::Iter<'_, String>) -> Result<(), Refusal> {
        for (at, c) in text.char_indices().skip(1) {
            if c == 'h' && self.find(|arg| arg.get_short() == Some('h')).is_none() {
                self.arguments.push("--help".to_owned());
                continue;
            }
            let Some(arg) = self.find(|arg| arg.get_short() == Some(c)) else {
                let text = format!("unknown shorthand flag: {c:?} in {text}");
                return Err(self.unknown(text, None, format!("-{c}")));
            };
            let flag = format!("--{}", arg.get_long().unwrap_or_default());
            let tail = text.get(at + c.len_utf8()..).unwrap_or_default();
            if is_switch(arg) {
                let value = tail.strip_prefix('=');
                self.switch(arg, flag, value)?;
                if value.is_some() {
                    return Ok(());
                }
                continue;
            }
            let attached = Some(tail.strip_prefix('=').unwrap_or(tail)).filter(|_| !tail.is_empty());
            let Some(value) = attached.map(str::to_owned).or_else(|| rest.next().cloned()) else {
                return Err(self.refused(format!("flag needs an argument: {c:?} in {text}")));
            };
            self.arguments.push(format!("{flag}={value}"));
            return Ok(());
        }
        Ok(())
    }

    fn positional(&mut self, text: &str) -> Result<(), Refusal> {
        if self.positionals == 0 && self.command.has_subcommands() {
            let Some(command) = self.command.find_subcommand(text) else {
                if text == "help" {
                    self.arguments.push(text.to_owned());
                    self.positionals += 1;
                    return Ok(());
                }
                return Err(self.unknown_command(text));
            };
            self.command = command;
            self.path.push(command.get_name().to_owned());
            self.arguments.push(command.get_name().to_owned());
            return Ok(());
        }
        self.positionals += 1;
        self.arguments.push(text.to_owned());
        Ok(())
    }

    fn unknown_flag(&self, name: &str) -> Refusal {
        let known = self.command.get_arguments().filter(|arg| !arg.is_hide_set());
        let known = known.filter_map(|arg| arg.get_long());
        let near = values::nearest(name, known).map(|near| format!("--{near}"));
        self.unknown(format!("unknown flag: --{name}"), near, format!("--{name}"))
    }

    fn unknown(&self, text: String, near: Option<String>, flag: String) -> Refusal {
        Refusal::Flag {
            text,
            near,
            unknown: Some(flag),
            path: self.path.clone(),
        }
    }

    fn unknown_command(&self, word: &str) -> Refusal {
        let known = self
            .command
            .get_subcommands()
            .filter(|known| !known.is_hide_set());
        Refusal::UnknownCommand {
            word: word.to_owned(),
            path: self.path.clone(),
            near: values::nearest(word, known.map(Command::get_name)).map(str::to_owned),
        }
    }

    /// A flag that is known, used wrongly.
    fn refused(&self, text: String) -> Refusal {
        Refusal::Flag {
            text,
            near: None,
            unknown: None,
            path: self.path.clone(),
        }
    }

    /// Refuses a wrong number of arguments; `help` and flags that end the command early are left to clap.
    fn check_count(&self) -> Result<(), Refusal> {
        let wants_help = self.arguments.iter().any(|argument| argument == "--help");
        if wants_help || self.command.has_subcommands() {
            return Ok(());
        }
        let (least, most) = count_range(self.command);
        if (least..=most).contains(&self.positionals) {
            return Ok(());
        }
        let path = self.path.join(" ");
        let rule = match (least, most) {
            (1, 1) => "requires 1 argument".to_owned(),
            (least, most) if least == most => format!("requires {least} arguments"),
            (0, 1) => "requires at most 1 argument".to_owned(),
            (0, most) => format!("requires at most {most} arguments"),
            (least, _) => format!("requires at least {least} argument"),
        };
        let root = self.root.get_name().split(' ').next().unwrap_or_default();
        let tail = usage_of(self.command, &path);
        Err(Refusal::Usage(format!("{root}: '{path}' {rule}{tail}")))
    }
}

/// How a command is used, and where more is said; follows a refusal.
pub fn usage_of(command: &Command, path: &str) -> String {
    let line = command.clone().bin_name(path).render_usage().to_string();
    let line = line.trim_start_matches("Usage:").trim();
    format!("\n\nUsage:  {line}\n\nRun '{path} --help' for more information")
}

/// The text for a value that a flag does not take.
pub fn invalid_argument(arg: &Arg, value: &str, error: &str) -> String {
    let long = arg.get_long().unwrap_or_default();
    let flag = match arg.get_short() {
        Some(short) => format!("-{short}, --{long}"),
        None => format!("--{long}"),
    };
    format!("invalid argument {value:?} for {flag:?} flag: {error}")
}

fn has_long(arg: &Arg, name: &str) -> bool {
    arg.get_long() == Some(name)
        || arg
            .get_all_aliases()
            .is_some_and(|aliases| aliases.contains(&name))
}

fn is_switch(arg: &Arg) -> bool {
    matches!(
        arg.get_action(),
        ArgAction::SetTrue | ArgAction::SetFalse | ArgAction::Count
    )
}

fn count_range(command: &Command) -> (usize, usize) {
    let mut range = (0, 0usize);
    for arg in command.get_positionals() {
        let many = matches!(arg.get_action(), ArgAction::Append);
        range.0 += usize::from(arg.is_required_set());
        range.1 = if many {
            usize::MAX
        } else {
            range.1.saturating_add(1)
        };
    }
    range
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::arg;

    fn root() -> Command {
        let ls = Command::new("ls").arg(Arg::new("no-trunc").long("no-trunc").action(ArgAction::SetTrue));
        let rm = Command::new("rm")
            .arg(
                Arg::new("force")
                    .short('f')
                    .long("force")
                    .action(ArgAction::SetTrue),
            )
            .arg(Arg::new("all").short('a').long("all").action(ArgAction::SetTrue))
            .arg(Arg::new("name").action(ArgAction::Append));
        let create = Command::new("create")
            .arg(
                Arg::new("platform")
                    .short('p')
                    .long("platform")
                    .action(ArgAction::Append),
            )
            .arg(arg!([CONTEXT]));
        Command::new("bkhost")
            .arg(Arg::new("builder").long("builder").global(true))
            .subcommands([ls, rm, create])
    }

    fn normal(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match normalise(&root(), &words) {
            Ok(normal) => normal.arguments.join(" "),
            Err(Refusal::UnknownCommand { word, .. }) => format!("unknown {word}"),
            Err(refusal) => refusal.into_error().line(),
        }
    }

    #[test]
    fn flags_may_stand_anywhere_and_be_switched_off() {
        assert_eq!(
            normal("--builder x ls --no-trunc=1"),
            "bkhost --builder=x ls --no-trunc"
        );
        assert_eq!(normal("ls --no-trunc --no-trunc=false"), "bkhost ls");
        assert_eq!(
            normal("rm a -fa b --builder=y"),
            "bkhost rm a --force --all b --builder=y"
        );
        assert_eq!(normal("create -pa,b"), "bkhost create --platform=a,b");
        assert_eq!(normal("rm -- -x"), "bkhost rm -- -x");
    }

    #[test]
    fn refusals_have_the_known_words() {
        assert_eq!(normal("ls --x"), "unknown flag: --x");
        assert_eq!(normal("rm -fx"), "unknown shorthand flag: 'x' in -fx");
        assert_eq!(normal("create --platform"), "flag needs an argument: --platform");
        assert_eq!(normal("create -p"), "flag needs an argument: 'p' in -p");
        assert_eq!(
            normal("rm --force=maybe"),
            "invalid argument \"maybe\" for \"-f, --force\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax"
        );
        assert_eq!(normal("nope"), "unknown nope");
        assert!(normal("ls x").starts_with("bkhost: 'bkhost ls' requires 0 arguments\n\nUsage:  bkhost ls"));
        assert!(normal("create a b").starts_with("bkhost: 'bkhost create' requires at most 1 argument"));
    }
}
