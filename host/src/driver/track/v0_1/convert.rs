//! From this track's types to the neutral ones. Texts are cleaned and lists bounded here.

use super::bindings::diagnose::exports::bkhost::driver::diagnose::Finding as GuestFinding;
use super::bindings::node_only::exports::bkhost::driver::node as guest;
use crate::driver::bindings::types::Pair;
use crate::driver::limits::{LISTED, SHOWN_TEXT, clean_line};
use crate::driver::manifest::Manifest;
use crate::driver::node::{DriverInfo, EndpointInfo, Finding, Instance, OptionInfo, State, Status};
use crate::driver::operation::shown_pairs;

/// A driver's description, under the name and version of its manifest.
pub(super) fn info(manifest: &Manifest, info: guest::DriverInfo) -> DriverInfo {
    DriverInfo {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        track: super::VERSION.to_owned(),
        summary: line(&info.summary),
        options: info.options.into_iter().take(LISTED).map(option).collect(),
        endpoint: EndpointInfo {
            kind: line(&info.endpoint.kind),
            schemes: info
                .endpoint
                .schemes
                .iter()
                .take(LISTED)
                .map(|text| line(text))
                .collect(),
            variable: info.endpoint.variable.as_deref().map(line),
        },
        optional: info.optional.iter().take(LISTED).map(|text| line(text)).collect(),
        extra: pairs(info.extra),
    }
}

fn option(option: guest::OptionInfo) -> OptionInfo {
    OptionInfo {
        name: line(&option.name),
        kind: line(&option.kind),
        default: option.default.as_deref().map(line),
        help: line(&option.help),
    }
}

/// The state of a node.
pub(super) fn status(status: guest::Status) -> Status {
    Status {
        state: state(status.state),
        detail: line(&status.detail),
        attributes: shown_pairs(status.attributes),
    }
}

/// One live daemon. Its id is not cleaned, only refused when it could not be shown: it is dialled again.
pub(super) fn instance(instance: guest::Instance) -> Option<Instance> {
    (line(&instance.id) == instance.id).then(|| Instance {
        id: instance.id,
        state: state(instance.state),
        labels: shown_pairs(instance.labels),
    })
}

/// What was found out about a loss.
pub(super) fn finding(finding: GuestFinding) -> Finding {
    Finding {
        word: line(&finding.word),
        message: line(&finding.message),
        hint: finding.hint.as_deref().map(line),
        details: shown_pairs(finding.details),
    }
}

/// Pairs whose order is of no meaning.
pub(super) fn pairs<C: FromIterator<(String, String)>>(pairs: Vec<Pair>) -> C {
    shown_pairs(pairs).into_iter().collect()
}

/// A text as it may be shown.
pub(super) fn line(text: &str) -> String {
    clean_line(text, SHOWN_TEXT)
}

fn state(state: guest::State) -> State {
    match state {
        guest::State::Inactive => State::Inactive,
        guest::State::Starting => State::Starting,
        guest::State::Running => State::Running,
        guest::State::Stopping => State::Stopping,
        guest::State::Stopped => State::Stopped,
        guest::State::Other => State::Other,
    }
}
