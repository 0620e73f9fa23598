//! The driver's memory of a node.

use std::collections::BTreeMap;

use super::{Answer, failure, with};
use crate::ErrorKind;

/// The map and whether it may be changed.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub values: BTreeMap<String, String>,
    pub read_only: bool,
}

#[derive(Debug)]
pub(crate) struct NodeState;

impl NodeState {
    pub(crate) fn get(&self, key: &str) -> Answer<Option<String>> {
        Ok(with(|world| world.memory.values.get(key).cloned()))
    }

    pub(crate) fn swap(&self, key: &str, expected: Option<&str>, new: Option<&str>) -> Answer<bool> {
        with(|world| {
            let memory = &mut world.memory;
            if memory.read_only {
                return Err(failure(
                    ErrorKind::Denied,
                    "`swap` is not allowed here: the state is read-only",
                ));
            }
            if memory.values.get(key).map(String::as_str) != expected {
                return Ok(false);
            }
            match new {
                Some(value) => memory.values.insert(key.to_owned(), value.to_owned()),
                None => memory.values.remove(key),
            };
            Ok(true)
        })
    }
}
