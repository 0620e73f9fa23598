//! The driver's memory of a node.

use std::collections::BTreeMap;

use super::{Answer, failure, with};
use crate::ErrorKind;

/// Keys, bytes of a key and bytes of a value, as the contract has them.
const LIMITS: (usize, usize, usize) = (64, 64, 16 << 10);

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
            if let Some(value) = new {
                check(&memory.values, key, value)?;
            }
            match new {
                Some(value) => memory.values.insert(key.to_owned(), value.to_owned()),
                None => memory.values.remove(key),
            };
            Ok(true)
        })
    }
}

fn check(values: &BTreeMap<String, String>, key: &str, value: &str) -> Answer<()> {
    let (keys, key_length, value_length) = LIMITS;
    let is_new = !values.contains_key(key);
    if key.len() > key_length || value.len() > value_length || (is_new && values.len() >= keys) {
        let words =
            format!("The state takes {keys} keys of {key_length} bytes with {value_length} bytes each");
        return Err(failure(ErrorKind::Exhausted, words));
    }
    Ok(())
}
