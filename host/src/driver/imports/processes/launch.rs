//! How a guest says what is started.

use std::path::{Component, Path, PathBuf};

use wasmtime::component::Resource;

use super::super::types::{Answer, Failure};
use super::failures::failure;
use super::{Program, folders};
use crate::driver::bindings::processes::HostLaunch;
use crate::driver::bindings::types::ErrorKind;
use crate::driver::state::View;
use crate::fs::{PRIVATE_DIR, create_dir_all};
use crate::keeper::launch;

/// Bytes of arguments and variables together: what the kernel takes in one exec, less the user's environment.
const SIZE_LIMIT: usize = 1 << 20;

/// Bytes of all files of one launch: certificates and a configuration, many times over. They lie where memory is the disk.
const FILES_LIMIT: usize = 16 << 20;

/// How to start the daemon.
pub struct Launch {
    launch: launch::Launch,
    size: usize,
    /// Bytes of the files that were written for it.
    written: usize,
}

impl Launch {
    pub(super) fn into_launch(self) -> launch::Launch {
        self.launch
    }

    /// Counts what is added; a guest cannot make the host grow without bound.
    fn grow(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.size += bytes + 1;
        if self.size > SIZE_LIMIT {
            return Err(wasmtime::Error::msg(format!(
                "it wanted to start a program with more than {SIZE_LIMIT} bytes of arguments"
            )));
        }
        Ok(())
    }

    /// Counts a file that is written; an empty one costs something as well.
    fn write(&mut self, name: &str, content: &[u8]) -> wasmtime::Result<()> {
        self.written += name.len() + content.len() + 4096;
        if self.written > FILES_LIMIT {
            return Err(wasmtime::Error::msg(format!(
                "it wanted to start a program with more than {FILES_LIMIT} bytes of files"
            )));
        }
        Ok(())
    }
}

impl View<'_> {
    fn program_path(&self, program: &Resource<Program>) -> wasmtime::Result<PathBuf> {
        Ok(self.table.get(program)?.path.clone())
    }
}

impl HostLaunch for View<'_> {
    async fn new(&mut self, program: Resource<Program>) -> wasmtime::Result<Resource<Launch>> {
        let launch = launch::Launch::new(self.program_path(&program)?);
        Ok(self.table.push(Launch {
            launch,
            size: 0,
            written: 0,
        })?)
    }

    async fn arg(&mut self, handle: Resource<Launch>, value: String) -> wasmtime::Result<()> {
        self.call.kept.add(value.len())?;
        let launch = self.table.get_mut(&handle)?;
        launch.grow(value.len())?;
        launch.launch.args.push(value);
        Ok(())
    }

    async fn program_arg(
        &mut self,
        handle: Resource<Launch>,
        program: Resource<Program>,
    ) -> wasmtime::Result<()> {
        let path = self.program_path(&program)?;
        self.call.kept.add(path.as_os_str().len())?;
        let launch = self.table.get_mut(&handle)?;
        launch.grow(path.as_os_str().len())?;
        launch.launch.args.push(path.display().to_string());
        launch.launch.note_program(&path);
        Ok(())
    }

    async fn env(&mut self, handle: Resource<Launch>, name: String, value: String) -> wasmtime::Result<()> {
        self.call.kept.add(name.len() + value.len())?;
        let launch = self.table.get_mut(&handle)?;
        launch.grow(name.len() + value.len())?;
        launch.launch.env.push((name, value));
        Ok(())
    }

    async fn path_of(
        &mut self,
        handle: Resource<Launch>,
        program: Resource<Program>,
    ) -> wasmtime::Result<()> {
        let path = self.program_path(&program)?;
        self.call.kept.add(path.as_os_str().len())?;
        let launch = self.table.get_mut(&handle)?;
        launch.grow(path.as_os_str().len())?;
        if let Some(folder) = path.parent() {
            launch.launch.path_first.push(folder.to_owned());
        }
        launch.launch.note_program(&path);
        Ok(())
    }

    async fn file(&mut self, handle: Resource<Launch>, name: String, content: Vec<u8>) -> Answer<String> {
        let site = self.site("file")?;
        self.call.kept.add(content.len())?;
        self.table.get_mut(&handle)?.write(&name, &content)?;
        let path = site.write_config(&name, &content).map_err(failure)?;
        folders::text(&path)
    }

    async fn socket(&mut self, handle: Resource<Launch>, path: String) -> wasmtime::Result<()> {
        self.call.kept.add(path.len())?;
        let launch = self.table.get_mut(&handle)?;
        launch.grow(path.len())?;
        launch.launch.socket = Some(PathBuf::from(path));
        Ok(())
    }

    async fn create_folder(&mut self, handle: Resource<Launch>, path: String) -> Answer<()> {
        let site = self.site("create-folder")?;
        let path = Path::new(&path);
        if folders::is_state(path, &self.call.config, &self.call.environment) {
            site.create_state(path).map_err(failure)?;
            self.table.get_mut(&handle)?.launch.state = Some(path.to_owned());
            return Ok(());
        }
        let below_state = self.table.get(&handle)?.launch.state.as_deref();
        let is_inside = |folder: &Path| path.starts_with(folder) && path != folder;
        let climbs = path.components().any(|part| part == Component::ParentDir);
        if climbs || !(is_inside(site.folder()) || below_state.is_some_and(is_inside)) {
            let message = format!(
                "`create-folder` of `{}` is not granted: it lies neither in the runtime folder nor in the state folder",
                path.display()
            );
            return Err(Failure::new(ErrorKind::Denied, message));
        }
        site.create_folder().map_err(failure)?;
        Ok(create_dir_all(path, PRIVATE_DIR)?)
    }

    async fn idle_timeout(&mut self, handle: Resource<Launch>, nanoseconds: u64) -> wasmtime::Result<()> {
        self.table.get_mut(&handle)?.launch.idle_timeout = nanoseconds;
        Ok(())
    }

    async fn fingerprint(&mut self, handle: Resource<Launch>, value: String) -> wasmtime::Result<()> {
        self.call.kept.add(value.len())?;
        let launch = self.table.get_mut(&handle)?;
        launch.grow(value.len())?;
        launch.launch.fingerprint = value;
        Ok(())
    }

    async fn drop(&mut self, handle: Resource<Launch>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
