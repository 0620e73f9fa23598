//! Which builder is current, and which is the default of a docker endpoint.
//!
//! The selection is kept per *key*: the docker context's name, or the host of the context `default`. A builder that
//! buildx cannot load is selected in a file of our own, which counts as long as buildx's file still says what it said
//! when ours was written; so selecting such a builder never disturbs buildx, and a later `buildx use` wins.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Store, StoreError, Transaction, go_json};
use crate::fs;

/// The content of `current`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Selection {
    /// The docker endpoint it was made for.
    pub key: String,
    /// The builder as typed; empty for none.
    pub name: String,
    /// Whether it counts for every docker endpoint.
    pub global: bool,
}

/// A selection of a builder that buildx cannot load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct OwnSelection {
    selection: Selection,
    /// What buildx's own file said when this was written.
    over: String,
}

impl Store {
    /// The name of the builder that is selected for `key`, if `exists` says that it is there. Changes nothing.
    pub fn selected(&self, key: &str, exists: impl Fn(&str) -> bool) -> Result<Option<String>, StoreError> {
        let current = self.read_current()?;
        if !current.name.is_empty() {
            let found = exists(&current.name);
            if current.global && found {
                return Ok(Some(current.name));
            }
            if current.key == key {
                return Ok(found.then_some(current.name));
            }
        }
        Ok(self.read_default(key)?.filter(|name| exists(name)))
    }

    fn read_current(&self) -> Result<Selection, StoreError> {
        let shared = read_shared(&self.layout.current())?;
        let own: OwnSelection = read_json(&self.layout.own_current())?;
        let counts = !own.selection.name.is_empty() && own.over == said(&shared);
        Ok(if counts { own.selection } else { shared })
    }

    fn read_default(&self, key: &str) -> Result<Option<String>, StoreError> {
        let shared = read_text(&self.layout.default_of(key))?;
        let own: OwnSelection = read_json(&self.layout.own_default_of(key))?;
        let counts = !own.selection.name.is_empty() && own.over == shared;
        let name = if counts { own.selection.name } else { shared };
        Ok((!name.is_empty()).then_some(name))
    }
}

impl Transaction<'_> {
    /// Selects a builder. With `default` it also becomes the default of the key, without it an earlier default of the
    /// key is dropped (as buildx does). `shared` is whether buildx can load the builder.
    pub fn select(&self, selection: &Selection, default: bool, shared: bool) -> Result<(), StoreError> {
        let layout = &self.store.layout;
        let (default_file, own_default) = (
            layout.default_of(&selection.key),
            layout.own_default_of(&selection.key),
        );
        if shared {
            layout.write(&layout.current(), encode(selection)?.as_bytes())?;
            layout.remove_file(&layout.own_current())?;
            layout.remove_file(&own_default)?;
            let text = selection.name.as_bytes();
            let kept = if default {
                layout.write(&default_file, text)
            } else {
                layout.remove_file(&default_file)
            };
            return Ok(kept?);
        }
        let over = said(&read_shared(&layout.current())?);
        self.write_own(&layout.own_current(), selection, over)?;
        if default {
            self.write_own(&own_default, selection, read_text(&default_file)?)
        } else {
            Ok(layout.remove_file(&own_default)?)
        }
    }

    fn write_own(&self, path: &Path, selection: &Selection, over: String) -> Result<(), StoreError> {
        let own = OwnSelection {
            selection: selection.clone(),
            over,
        };
        Ok(self.store.layout.write(path, encode(&own)?.as_bytes())?)
    }
}

/// The part of a selection that a choice of the user changes. buildx rewrites the rest merely by running.
fn said(selection: &Selection) -> String {
    selection.name.clone()
}

fn encode<T: Serialize>(value: &T) -> Result<String, StoreError> {
    go_json::encode(value).map_err(|source| StoreError::Encode {
        name: "current".to_owned(),
        source,
    })
}

fn read_shared(path: &Path) -> Result<Selection, StoreError> {
    let Some(data) = fs::read_if_exists(path)? else {
        return Ok(Selection::default());
    };
    let value: serde_json::Value = serde_json::from_slice(&data).unwrap_or_default();
    let Some(object) = value.as_object() else {
        return Ok(Selection::default());
    };
    Ok(Selection {
        key: go_json::string(object, "Key").unwrap_or_default(),
        name: go_json::string(object, "Name").unwrap_or_default(),
        global: go_json::boolean(object, "Global").unwrap_or_default(),
    })
}

fn read_json<T: serde::de::DeserializeOwned + Default>(path: &Path) -> Result<T, StoreError> {
    let data = fs::read_if_exists(path)?.unwrap_or_default();
    Ok(serde_json::from_slice(&data).unwrap_or_default())
}

fn read_text(path: &Path) -> Result<String, StoreError> {
    let data = fs::read_if_exists(path)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&data).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;
    use super::*;

    fn select(store: &Store, key: &str, name: &str, global: bool, default: bool, shared: bool) {
        let selection = Selection {
            key: key.into(),
            name: name.into(),
            global,
        };
        let transaction = store.try_transaction().unwrap().unwrap();
        transaction.select(&selection, default, shared).unwrap();
    }

    fn selected(store: &Store, key: &str) -> Option<String> {
        store.selected(key, |name| name != "gone").unwrap()
    }

    #[test]
    fn a_selection_counts_for_its_key() {
        let (_dir, store) = store();
        assert_eq!(selected(&store, "k1"), None);
        select(&store, "k1", "a", false, false, true);
        assert_eq!(
            std::fs::read_to_string(store.layout().current()).unwrap(),
            r#"{"Key":"k1","Name":"a","Global":false}"#
        );
        assert_eq!(selected(&store, "k1").as_deref(), Some("a"));
        assert_eq!(selected(&store, "k2"), None);
        select(&store, "k1", "a", true, false, true);
        assert_eq!(selected(&store, "k2").as_deref(), Some("a"));
    }

    #[test]
    fn a_default_comes_back_and_is_dropped_by_a_plain_use() {
        let (_dir, store) = store();
        select(&store, "k1", "a", false, true, true);
        select(&store, "k2", "b", false, false, true);
        assert_eq!(selected(&store, "k1").as_deref(), Some("a"));
        assert_eq!(selected(&store, "k2").as_deref(), Some("b"));
        select(&store, "k1", "c", false, false, true);
        select(&store, "k2", "b", false, false, true);
        assert_eq!(selected(&store, "k1"), None);
    }

    #[test]
    fn a_dangling_selection_of_the_key_hides_the_default() {
        let (_dir, store) = store();
        select(&store, "k1", "gone", false, true, true);
        assert_eq!(selected(&store, "k1"), None);
        select(&store, "k2", "gone", true, true, true);
        assert_eq!(selected(&store, "k1"), None, "the default is gone as well");
    }

    #[test]
    fn ours_counts_until_buildx_selects_something() {
        let (_dir, store) = store();
        select(&store, "k1", "a", false, false, true);
        let before = std::fs::read(store.layout().current()).unwrap();
        select(&store, "k1", "ours", false, true, false);
        assert_eq!(std::fs::read(store.layout().current()).unwrap(), before);
        assert_eq!(selected(&store, "k1").as_deref(), Some("ours"));
        std::fs::write(
            store.layout().current(),
            r#"{"Key":"k1","Name":"b","Global":false}"#,
        )
        .unwrap();
        assert_eq!(selected(&store, "k1").as_deref(), Some("b"));
    }

    #[test]
    fn reading_changes_nothing() {
        let (_dir, store) = store();
        select(&store, "k1", "a", false, true, true);
        let before = std::fs::read(store.layout().current()).unwrap();
        assert_eq!(selected(&store, "other"), None);
        assert_eq!(std::fs::read(store.layout().current()).unwrap(), before);
    }
}
