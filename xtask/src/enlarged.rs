//! Fixtures that no compiler makes: the component of a guest with more in it than any driver needs.

use std::fs;
use std::path::Path;

use crate::failure::{Failure, Result};
use crate::manifest::Guest;

/// A component with a core module added to it that is instantiated many times.
pub struct Enlarged {
    name: &'static str,
    of: &'static str,
    module: &'static [u8],
    times: u32,
}

const EMPTY: &[u8] = b"\0asm\x01\0\0\0";
/// With one memory of no pages.
const WITH_MEMORY: &[u8] = b"\0asm\x01\0\0\0\x05\x03\x01\0\0";

/// What tests of the host's limits load. The numbers are beyond `CORE_INSTANCES` and `MEMORIES` of the host, but for the
/// last: it shows that what is added does no harm by itself.
pub const FIXTURES: [Enlarged; 3] = [
    Enlarged {
        name: "many-instances",
        of: "node-only",
        module: EMPTY,
        times: 257,
    },
    Enlarged {
        name: "many-memories",
        of: "node-only",
        module: WITH_MEMORY,
        times: 17,
    },
    Enlarged {
        name: "some-memories",
        of: "node-only",
        module: WITH_MEMORY,
        times: 5,
    },
];

impl Enlarged {
    /// The guest that it is to the rest of the task; no crate makes it.
    pub fn guest(&self) -> Guest {
        Guest {
            name: self.name.to_owned(),
            artifact: String::new(),
        }
    }

    /// The component, made of the one in `folder` that it enlarges.
    pub fn component(&self, folder: &Path) -> Result<Vec<u8>> {
        let path = folder.join(format!("{}.wasm", self.of));
        let component = fs::read(&path).map_err(|cause| Failure::io("read", &path, &cause))?;
        enlarge(&component, self.module, self.times)
            .ok_or_else(|| Failure::new(format!("`{}` is no component", path.display())))
    }
}

/// Numbers of sections in the binary format of components.
const CORE_MODULE: u8 = 1;
const CORE_INSTANCES: u8 = 2;

/// Appends `module` to a component, and `times` instances of it.
fn enlarge(component: &[u8], module: &[u8], times: u32) -> Option<Vec<u8>> {
    let number = modules(component)?;
    let mut instances = leb(times);
    for _ in 0..times {
        // Instantiates a module, without arguments.
        instances.push(0);
        instances.extend(leb(number));
        instances.push(0);
    }
    let mut enlarged = component.to_vec();
    for (id, content) in [(CORE_MODULE, module), (CORE_INSTANCES, &instances)] {
        enlarged.push(id);
        enlarged.extend(leb(u32::try_from(content.len()).ok()?));
        enlarged.extend(content);
    }
    Some(enlarged)
}

/// How many core modules a component has at its top level.
fn modules(component: &[u8]) -> Option<u32> {
    let mut rest = component.strip_prefix(b"\0asm\x0d\0\x01\0")?;
    let mut count = 0;
    while let Some((id, after)) = rest.split_first() {
        count += u32::from(*id == CORE_MODULE);
        let (size, after) = read_leb(after)?;
        rest = after.get(usize::try_from(size).ok()?..)?;
    }
    Some(count)
}

/// An unsigned number in LEB128.
fn leb(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn read_leb(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut number = 0;
    let mut rest = bytes;
    for shift in (0..32).step_by(7) {
        let (byte, after) = rest.split_first()?;
        rest = after;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((number, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for number in [0, 1, 127, 128, 300, u32::MAX] {
            let mut bytes = leb(number);
            bytes.push(7);
            assert_eq!(read_leb(&bytes), Some((number, &[7][..])));
        }
        assert_eq!(read_leb(&[0x80]), None);
    }

    #[test]
    fn modules_are_added_behind_those_that_are_there() {
        let empty = b"\0asm\x0d\0\x01\0";
        let one = enlarge(empty, EMPTY, 2).unwrap();
        assert_eq!(
            one[empty.len()..],
            *b"\x01\x08\0asm\x01\0\0\0\x02\x07\x02\0\0\0\0\0\0"
        );
        let two = enlarge(&one, EMPTY, 1).unwrap();
        assert_eq!(two[one.len() + 10..], *b"\x02\x04\x01\0\x01\0");
        assert_eq!(modules(&two), Some(2));
        assert_eq!(enlarge(EMPTY, EMPTY, 1), None);
    }
}
