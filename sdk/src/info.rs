//! What a driver says about itself, its nodes and its daemons.

pub use crate::bindings::exports::bkhost::driver::node::State;

/// A documented key and its value.
pub type Pair = (String, String);

/// What a driver says about itself. Its name and version stand in the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverInfo {
    /// One line: capital first letter, no full stop.
    pub summary: String,
    /// All options; any other is refused by [`Driver::open`](crate::Driver::open).
    pub options: Vec<OptionInfo>,
    /// The endpoint it wants.
    pub endpoint: Endpoint,
    /// Optional abilities that count, among `diagnose`, `logs` and `scale`.
    pub optional: Vec<String>,
    /// More, by documented keys; hosts ignore unknown ones.
    pub extra: Vec<Pair>,
}

impl DriverInfo {
    /// A driver without options and optional abilities.
    pub fn new(summary: impl Into<String>, endpoint: Endpoint) -> Self {
        Self {
            summary: summary.into(),
            options: Vec::new(),
            endpoint,
            optional: Vec::new(),
            extra: Vec::new(),
        }
    }

    /// Adds an option.
    #[must_use]
    pub fn with_option(mut self, option: OptionInfo) -> Self {
        self.options.push(option);
        self
    }

    /// Names an optional ability that the driver has: `diagnose`, `logs` or `scale`.
    #[must_use]
    pub fn with_optional(mut self, ability: impl Into<String>) -> Self {
        self.optional.push(ability.into());
        self
    }

    /// Adds a documented key: `instances`, `files` or `flags`, each with `false` for what the driver does not take.
    #[must_use]
    pub fn with_extra(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.extra.push((key.into(), value.into()));
        self
    }
}

/// One driver option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionInfo {
    /// Its name; a name that ends in `.` stands for all options with that prefix.
    pub name: String,
    /// Kind of value: `string`, `bool`, `int`, `bytes`, `duration`, `path`, `quantity` or `list`.
    pub kind: String,
    /// The default as it would be typed.
    pub default: Option<String>,
    /// One line of help: capital first letter, no full stop.
    pub help: String,
}

impl OptionInfo {
    /// An option without default.
    pub fn new(name: impl Into<String>, kind: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            default: None,
            help: help.into(),
        }
    }

    /// Names the default, as it would be typed.
    #[must_use]
    pub fn with_default(mut self, default: impl Into<String>) -> Self {
        self.default = Some(default.into());
        self
    }
}

/// What a driver wants as endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `required`, `derived` or `engine`.
    pub kind: String,
    /// URL schemes that it takes; empty when derived.
    pub schemes: Vec<String>,
    /// Environment variable that stands in for a missing argument.
    pub variable: Option<String>,
}

impl Endpoint {
    /// The user must give one with one of these URL schemes.
    pub fn required<S: Into<String>>(schemes: impl IntoIterator<Item = S>) -> Self {
        Self {
            kind: "required".to_owned(),
            schemes: schemes.into_iter().map(Into::into).collect(),
            variable: None,
        }
    }

    /// The driver makes it; the user may give none.
    pub fn derived() -> Self {
        Self {
            kind: "derived".to_owned(),
            schemes: Vec::new(),
            variable: None,
        }
    }

    /// A docker context or docker host.
    pub fn engine() -> Self {
        Self {
            kind: "engine".to_owned(),
            ..Self::derived()
        }
    }

    /// Names the environment variable that stands in for a missing argument.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>) -> Self {
        self.variable = Some(name.into());
        self
    }
}

/// State of a node, with its explanation.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The state.
    pub state: State,
    /// One line; may be empty.
    pub detail: String,
    /// Documented keys: `version` (of a daemon that cannot say it itself), `drift` (what differs from the
    /// configuration). Others are shown as they are.
    pub attributes: Vec<Pair>,
}

impl Status {
    /// A state without explanation.
    pub fn new(state: State) -> Self {
        Self {
            state,
            detail: String::new(),
            attributes: Vec::new(),
        }
    }

    /// Explains it in one line.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Adds a fact by key.
    #[must_use]
    pub fn with_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }
}

/// One daemon of a node: a live one, or one that has ended and whose log is still there.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Identity to dial, unique within the node.
    pub id: String,
    /// Its state.
    pub state: State,
    /// Documented keys: `platforms` (comma list), `name` (to show).
    pub labels: Vec<Pair>,
}

impl Instance {
    /// An instance without labels.
    pub fn new(id: impl Into<String>, state: State) -> Self {
        Self {
            id: id.into(),
            state,
            labels: Vec::new(),
        }
    }

    /// Adds a label.
    #[must_use]
    pub fn with_label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }
}

/// Why a connection was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A word: `killed`, `exited`, `oom-killed`, `idle-stopped`, `evicted`, `preempted`, `node-silent`, `tunnel-cut`,
    /// `unknown`, or another.
    pub word: String,
    /// One line for the user; names the daemon and how it ended.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// `exit-code`, `signal`, `log` (last lines).
    pub details: Vec<Pair>,
}

impl Finding {
    /// A finding without hint and details.
    pub fn new(word: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            word: word.into(),
            message: message.into(),
            hint: None,
            details: Vec::new(),
        }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a fact by key.
    #[must_use]
    pub fn with_detail(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.push((key.into(), value.into()));
        self
    }
}
