//! What a build leaves behind so that its history can be tied to a folder: `refs/<builder>/<node>/<ref>`.

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::fs::{FileError, PUBLIC_FILE};

/// The local side of one build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LocalState {
    /// `default`, or the name of a target of a group.
    pub target: String,
    /// Absolute path of the context, or a remote address as typed.
    pub local_path: String,
    /// Dockerfile as given, absolute for a local context; empty without `--file`.
    pub dockerfile_path: String,
    /// Group of builds this one belongs to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_ref: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Group {
    refs: Vec<String>,
}

/// Folder of groups, beside the builders' folders.
const GROUPS: &str = "__group__";

impl Store {
    /// Keeps the local side of build `reference`. Needs no lock: every build has a file of its own.
    pub fn write_local_state(
        &self,
        builder: &str,
        node: &str,
        reference: &str,
        state: &LocalState,
    ) -> Result<(), StoreError> {
        let path = self.layout.refs().join(builder).join(node).join(reference);
        let text = super::go_json::encode(state).map_err(|source| StoreError::Encode {
            name: reference.to_owned(),
            source,
        })?;
        Ok(self.layout.write_with_mode(&path, text.as_bytes(), PUBLIC_FILE)?)
    }

    /// Forgets the builds of a builder, or of one of its nodes, and groups that consisted of nothing else.
    pub fn remove_local_states(&self, builder: &str, node: Option<&str>) -> Result<(), StoreError> {
        let folder = self.layout.refs().join(builder);
        let nodes = match node {
            Some(node) => vec![node.to_owned()],
            None => names_in(&folder)?,
        };
        for node in nodes {
            let folder = folder.join(node);
            self.remove_groups_of(&names_in(&folder)?)?;
            self.layout.remove_folder(&folder)?;
        }
        if node.is_none() {
            self.layout.remove_folder(&folder)?;
        }
        Ok(())
    }

    fn remove_groups_of(&self, refs: &[String]) -> Result<(), StoreError> {
        if refs.is_empty() {
            return Ok(());
        }
        let groups = self.layout.refs().join(GROUPS);
        for id in names_in(&groups)? {
            let path = groups.join(id);
            let Some(data) = crate::fs::read_if_exists(&path)? else {
                continue;
            };
            let group: Group = serde_json::from_slice(&data).unwrap_or_default();
            let all_go = group.refs.iter().all(|reference| refs.contains(reference));
            if !group.refs.is_empty() && all_go {
                self.layout.remove_file(&path)?;
            }
        }
        Ok(())
    }
}

fn names_in(folder: &std::path::Path) -> Result<Vec<String>, FileError> {
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(entries
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(FileError::io("read", folder)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;
    use super::*;

    #[test]
    fn the_file_has_the_known_form() {
        let (_dir, store) = store();
        let state = LocalState {
            target: "default".into(),
            local_path: "/src".into(),
            ..LocalState::default()
        };
        store.write_local_state("b", "b0", "abc", &state).unwrap();
        let path = store.layout().refs().join("b/b0/abc");
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            r#"{"Target":"default","LocalPath":"/src","DockerfilePath":""}"#
        );
    }

    #[test]
    fn a_group_goes_with_the_last_of_its_builds() {
        let (_dir, store) = store();
        let groups = store.layout().refs().join(GROUPS);
        store
            .write_local_state("b", "b0", "one", &LocalState::default())
            .unwrap();
        store
            .write_local_state("b", "b1", "two", &LocalState::default())
            .unwrap();
        std::fs::create_dir_all(&groups).unwrap();
        std::fs::write(groups.join("g1"), r#"{"Refs":["one"]}"#).unwrap();
        std::fs::write(groups.join("g2"), r#"{"Refs":["one","two"]}"#).unwrap();
        store.remove_local_states("b", Some("b0")).unwrap();
        assert!(!groups.join("g1").exists() && groups.join("g2").exists());
        assert!(!store.layout().refs().join("b/b0").exists());
        assert!(store.layout().refs().join("b/b1/two").exists());
    }
}
