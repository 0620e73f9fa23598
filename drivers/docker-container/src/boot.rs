//! Many clients, one container: who finds one uses it, who finds none makes it, and whoever is killed in between is
//! finished by the next.

use std::time::Duration;

use bkhost_driver::{Error, ErrorKind, Result, Step, timer, wait_any};

use crate::api::{self, Container, Creation};
use crate::creation::{self, Surroundings};
use crate::image::{self, Image};
use crate::{ANSWER, DockerContainer, archive, drift};

/// How often the container may turn out to be gone or half-made before it is given up.
const ROUNDS: u32 = 20;
/// Pause before looking again at what somebody else is doing.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the engine may take to make or start a container, or to unpack its files.
const CHANGE: Duration = Duration::from_secs(60);

/// One boot of one client.
pub struct Boot<'a> {
    driver: &'a DockerContainer,
    step: &'a Step<'a>,
    image: Option<Image>,
}

impl<'a> Boot<'a> {
    /// A boot that is shown under this step.
    pub fn new(driver: &'a DockerContainer, step: &'a Step<'a>) -> Self {
        Self {
            driver,
            step,
            image: None,
        }
    }

    /// Returns when the container runs; its daemon may still be on its way up.
    pub fn run(mut self) -> Result<()> {
        for _ in 0..ROUNDS {
            self.step.ensure_running()?;
            if self.attempt()? {
                return Ok(());
            }
            let pause = timer(self.step.time_left_or(PAUSE));
            wait_any(&[&pause, &self.step.cancellation()]);
        }
        let name = &self.driver.name;
        let words = format!("The container `{name}` is removed or replaced again and again");
        Err(Error::new(ErrorKind::Conflict, words)
            .with_hint("Another builder with a node of the same name may use the same engine"))
    }

    /// One look, and what follows from it; `false` when somebody else was faster with something, so look again.
    fn attempt(&mut self) -> Result<bool> {
        let Some(container) = self.look()? else {
            return self.make();
        };
        let drift = self.driver.drift(&container);
        if container.flag("/State/Paused") {
            return Err(self.driver.paused());
        }
        if container.is_running() {
            if let Some(names) = drift {
                self.step.message(&self.driver.drift_words(&names));
            }
            return Ok(true);
        }
        match drift {
            Some(names) => self.renew(&container, &names),
            None => self.bring_up(container.id(), container.was_never_started()),
        }
    }

    fn look(&self) -> Result<Option<Container>> {
        api::inspect(&self.driver.name, self.step.time_left_or(ANSWER))
    }

    /// Makes a container, unless somebody else does while the image comes.
    fn make(&mut self) -> Result<bool> {
        self.fetch_image()?;
        if self.look()?.is_some() {
            return Ok(false);
        }
        match self.create()? {
            Some(id) => self.bring_up(&id, true),
            None => Ok(false),
        }
    }

    /// Pulls the image, once a boot.
    fn fetch_image(&mut self) -> Result<&Image> {
        let image = match self.image.take() {
            Some(image) => image,
            None => image::pull(&self.driver.settings, self.step)?,
        };
        Ok(self.image.insert(image))
    }

    /// The id of the container that was made; absent when there is one now that somebody else made.
    fn create(&mut self) -> Result<Option<String>> {
        let (driver, step) = (self.driver, self.step);
        let image = self.fetch_image()?;
        step.run(&format!("creating container {}", driver.name), |part| {
            let surroundings = Surroundings {
                info: api::info(part.time_left_or(ANSWER)).ok(),
                gpu: creation::has_gpu(&driver.probe(), &image.reference, part.time_left_or(ANSWER)),
                wsl: creation::is_in_wsl(&driver.config),
            };
            let body = driver.plan().body(&image.reference, &surroundings);
            match api::create(&driver.name, &body, part.time_left_or(CHANGE))? {
                Creation::Made(id) => Ok(Some(id)),
                Creation::NameTaken => Ok(None),
                Creation::NoImage(refusal) => Err(image.missing(refusal)),
            }
        })
    }

    /// Starts a container. Files are put into one that never ran: whoever made it may have been killed before.
    fn bring_up(&self, id: &str, new: bool) -> Result<bool> {
        let driver = self.driver;
        self.step
            .run(&format!("starting container {}", driver.name), |part| {
                if new && !api::unpack(id, archive::pack(&driver.files), part.time_left_or(CHANGE))? {
                    return Ok(false);
                }
                api::start(id, part.time_left_or(CHANGE))
            })
    }

    /// Makes room for a container with the settings of now; the volume with the cache stays. Only what was looked at is
    /// removed, by its id, and only while it does not run.
    fn renew(&mut self, container: &Container, names: &str) -> Result<bool> {
        self.step
            .message(&format!("renewing the container for other settings: {names}"));
        let image = self.fetch_image()?;
        if image.pull_error.is_some() && names.split(", ").any(|name| name == "image") {
            // Without the new image there would be nothing in the place of the old container.
            self.step
                .message("The new image cannot be pulled; the container is started as it is");
            return self.bring_up(container.id(), container.was_never_started());
        }
        api::delete_stopped(container.id(), self.step.time_left_or(CHANGE))?;
        Ok(false)
    }
}

impl DockerContainer {
    /// Names of the settings in which a container differs from the configuration.
    pub fn drift(&self, container: &Container) -> Option<String> {
        drift::of(container, &self.plan())
    }

    /// What to do about a container that differs.
    pub fn drift_words(&self, names: &str) -> String {
        let builder = self.config.builder();
        format!(
            "The container runs with other settings ({names}); `bkhost renew {builder}` applies them, its cache is kept"
        )
    }

    /// Whoever paused it had a reason.
    pub fn paused(&self) -> Error {
        let name = &self.name;
        Error::new(
            ErrorKind::Unavailable,
            format!("The container `{name}` is paused"),
        )
        .with_hint(format!("Let it go on with `docker unpause {name}`"))
    }
}
