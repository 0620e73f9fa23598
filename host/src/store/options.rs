//! Options that only bkhost knows, kept beside the instance file that buildx reads.
//!
//! Each file names the state of the instance file that it belongs to. When buildx has changed or remade the builder,
//! the options are no longer believed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::record::BuilderRecord;
use super::{Revision, StoreError, shared};
use crate::fs;

/// Options by node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct OwnOptions {
    /// SHA-256 of the instance file.
    instance: String,
    /// Options by node name.
    nodes: BTreeMap<String, BTreeMap<String, String>>,
}

/// Splits a record into what buildx can load and the rest.
pub fn split(record: &BuilderRecord) -> (BuilderRecord, OwnOptions) {
    let mut shared_part = record.clone();
    let mut own = OwnOptions::default();
    for node in shared_part.nodes.iter_mut().flatten() {
        let Some(all) = node.driver_opts.take() else {
            continue;
        };
        let (known, extra): (BTreeMap<_, _>, BTreeMap<_, _>) = all
            .into_iter()
            .partition(|(option, value)| shared::is_shared_option(&record.driver, option, value));
        node.driver_opts = Some(known);
        if !extra.is_empty() {
            own.nodes.insert(node.name.clone(), extra);
        }
    }
    (shared_part, own)
}

/// Writes the options that belong to `revision` of the instance file, or removes the file when there are none.
pub fn write(
    layout: &Layout,
    builder_file: &str,
    revision: Revision,
    own: &OwnOptions,
) -> Result<(), StoreError> {
    let path = layout.own_options().join(builder_file);
    if own.nodes.is_empty() {
        return Ok(layout.remove_file(&path)?);
    }
    let own = OwnOptions {
        instance: revision.hex(),
        nodes: own.nodes.clone(),
    };
    let text = serde_json::to_vec(&own).map_err(|source| StoreError::Encode {
        name: builder_file.to_owned(),
        source,
    })?;
    Ok(layout.write(&path, &text)?)
}

/// Adds the options of `builder_file` to its record; the result is a warning when they had to be left out.
pub fn add_own(
    layout: &Layout,
    builder_file: &str,
    revision: Revision,
    record: &mut BuilderRecord,
) -> Result<Option<String>, StoreError> {
    let path = layout.own_options().join(builder_file);
    let Some(data) = fs::read_if_exists(&path)? else {
        return Ok(None);
    };
    let Ok(own) = serde_json::from_slice::<OwnOptions>(&data) else {
        return Ok(Some(format!(
            "Options of builder `{}` are left out: `{}` is broken",
            record.name,
            path.display()
        )));
    };
    if own.instance != revision.hex() {
        return Ok(Some(dropped(record, &own)));
    }
    for node in record.nodes.iter_mut().flatten() {
        if let Some(extra) = own.nodes.get(&node.name) {
            node.driver_opts.get_or_insert_default().extend(extra.clone());
        }
    }
    Ok(None)
}

fn dropped(record: &BuilderRecord, own: &OwnOptions) -> String {
    let mut names: Vec<&str> = own
        .nodes
        .values()
        .flat_map(|node| node.keys().map(String::as_str))
        .collect();
    names.sort_unstable();
    names.dedup();
    format!(
        "Builder `{}` was changed by buildx: options that only bkhost knows are no longer used: {}",
        record.name,
        names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    )
}
