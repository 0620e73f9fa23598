//! `bkhost build`: from the command line to the result, with one display for all of it.

pub(super) mod daemons;
mod engines;
pub(super) mod failure;
mod record;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub use super::super::build::args::BuildArgs;
use super::super::build::inputs::{self, Inputs, Wanted};
use super::super::build::request::{BuildRequest, Surroundings, TypedBuild};
use super::super::build::solve_spec::loading::{Loads, PREFER_IMAGE_DIGEST};
use super::super::build::solve_spec::{self, NodeFacts};
use super::super::build::{source_control, value};
use super::super::display::{self, Display};
use super::super::engine;
use super::super::env_vars::{self, Environment};
use super::super::settings::{Choice, Context, resolve_builder};
use crate::acquire::{AcquireError, Daemon};
use crate::buildkit::spec::{ExportTarget, Exporter, RegistryCredentials, SolveSpec, Solved, StandardOutput};
use crate::docker::Engines;
use crate::driver::node::{Cancel, Drivers, NodeConfig};
use crate::error::{CommandError, Result};
use crate::git;
use crate::output::{image_id, layout_index, metadata};
use crate::platform::Platform;
use crate::progress::event::{Sink, Warning};
use crate::progress::{Mode, Summary};
use crate::store::Store;
use crate::ui::Ui;
use daemons::{Found, Goal};
use engines::BuildEngines;
use record::Record;

/// The builder that a build goes to, with its nodes as drivers are told of them.
#[derive(Clone, Debug)]
pub struct ChosenBuilder {
    /// Its name as the user spelled it.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// Its nodes in the order of the store.
    pub nodes: Vec<NodeConfig>,
    /// A line for the user when the choice may surprise.
    pub note: Option<String>,
}

/// Everything a build works with.
pub struct Ground<'a> {
    /// The environment as it was at the start.
    pub environment: &'a Environment,
    /// The door to the terminal.
    pub ui: &'a Ui,
    /// The drivers there are.
    pub drivers: &'a dyn Drivers,
    /// The builder store.
    pub store: &'a Store,
    /// The Docker Engines that the docker client knows.
    pub engines: Arc<Engines>,
    /// Registry credentials.
    pub registry: Arc<dyn RegistryCredentials>,
    /// Proxy variables of the docker configuration.
    pub proxies: BTreeMap<String, String>,
    /// Standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Ends the build on the daemon and then here.
    pub cancel: Cancel,
}

/// Builds on the builder that is chosen for this command.
///
/// # Errors
///
/// As [`run_on`], and when there is no such builder.
pub async fn run(context: &Context<'_>, args: BuildArgs) -> Result<()> {
    for warning in args.retired.warnings()? {
        context.ui.warn(warning);
    }
    let choice = resolve_builder(context, None).await?;
    let builder = ChosenBuilder::of(context, choice).await?;
    let ground = Ground {
        environment: context.environment,
        ui: context.ui,
        drivers: context.drivers,
        store: &context.store,
        engines: Arc::clone(&context.engines),
        registry: Arc::new(context.credentials()),
        proxies: context
            .contexts
            .key()
            .map(|host| context.docker.proxy_variables(&host))
            .unwrap_or_default(),
        stdout_is_terminal: context.ui.out_is_terminal(),
        cancel: context.cancel.clone(),
    };
    run_on(&ground, &builder, args).await
}

impl ChosenBuilder {
    pub(super) async fn of(context: &Context<'_>, choice: Choice) -> Result<Self> {
        let Choice { mut builder, note } = choice;
        engine::ready(context, &mut builder).await?;
        for warning in &builder.warnings {
            context.ui.warn(warning);
        }
        let nodes = builder.record.nodes();
        Ok(Self {
            name: builder.name().to_owned(),
            driver: builder.record.driver.clone(),
            nodes: nodes
                .iter()
                .map(|node| builder.node_config(context, node))
                .collect(),
            note,
        })
    }
}

/// Builds on `builder`.
///
/// # Errors
///
/// Refused values as they are; everything later after `failed to build: `, with source excerpts before it and the
/// exit code that buildx has for it.
pub async fn run_on(ground: &Ground<'_>, builder: &ChosenBuilder, args: BuildArgs) -> Result<()> {
    let environment = |name: &str| ground.environment.variables().get(name).cloned();
    let typed = TypedBuild::parse(args, &environment)?;
    if let Some(path) = typed.image_id_file() {
        image_id::remove(&path)?;
    }
    let settings = display::settings(ground.environment, ground.ui, typed.display.mode)?;
    // Readers of JSON, and those who asked for silence, are not told how the builder was found.
    if let Some(note) = builder
        .note
        .as_ref()
        .filter(|_| matches!(settings.mode, Mode::Plain | Mode::Tty))
    {
        ground.ui.say(note);
    }
    let description = format!(
        "building with {:?} instance using {} driver",
        builder.name, builder.driver
    );
    let label = format!("{}:{}", builder.driver, builder.name);
    let display = Display::begin(ground.ui, settings, Some(description), &label);
    let outcome = build(ground, builder, typed, display.sink()).await;
    let summary = display.end().await;
    if let Ok(built) = &outcome
        && built.is_lost
    {
        warn_of_nothing(ground.ui, &builder.driver);
    }
    show_warnings(ground, &summary);
    let built = outcome.map_err(|error| error.prefixed("failed to build"))?;
    conclude(ground.ui, &built, summary.warnings)
}

fn show_warnings(ground: &Ground<'_>, summary: &Summary) {
    if let Some(text) = summary.warnings_text(ground.ui.debug(), ground.ui.colour()) {
        // A terminal that has gone misses nothing.
        let _ = ground.ui.draw(text);
    }
}

/// A finished build.
struct Built {
    request: BuildRequest,
    response: BTreeMap<String, String>,
    /// Nobody asked for the result, so it stays in the daemon's cache.
    is_lost: bool,
}

async fn build(ground: &Ground<'_>, builder: &ChosenBuilder, typed: TypedBuild, sink: Sink) -> Result<Built> {
    let environment = |name: &str| ground.environment.variables().get(name).cloned();
    let surroundings = Surroundings {
        environment: &environment,
        working_folder: &ground.environment.folder,
        terminal: ground.stdout_is_terminal,
    };
    let request = BuildRequest::resolve(typed, surroundings)?;
    let (request, inputs) = load_inputs(request, &ground.cancel).await?;
    let record = Record::new(ground, builder);
    record.stamp();
    warn_of_variable(ground);
    let goal = Goal {
        drivers: ground.drivers,
        ui: ground.ui,
        cancel: &ground.cancel,
        sink: &sink,
        platforms: &request.platforms,
        affinity: request.affinity(&ground.environment.folder),
        purpose: "build",
    };
    let (found, source_control) = tokio::join!(
        daemons::find(&goal, builder),
        source_control(ground, &request, &inputs)
    );
    let found = found?;
    let solve = Solve {
        ground,
        builder,
        request: &request,
        inputs: &inputs,
        sink,
    };
    let Kept { response, is_lost } = solve.run(found, &source_control, &record).await?;
    Ok(Built {
        request,
        response,
        is_lost,
    })
}

/// Standard input may be a terminal at which nobody types: reading it has a thread of its own and can be cancelled.
async fn load_inputs(request: BuildRequest, cancel: &Cancel) -> Result<(BuildRequest, Inputs)> {
    let reading = tokio::task::spawn_blocking(move || {
        let wanted = Wanted {
            context: &request.context,
            dockerfile: &request.dockerfile,
            named: &request.named_contexts,
            needs_dockerfile: request.syntax().is_none(),
        };
        let inputs = inputs::load(wanted, &mut UnbufferedStdin);
        inputs.map(|inputs| (request, inputs))
    });
    match cancel.run_until_cancelled(reading).await {
        None => Err(failure::of_acquire(AcquireError::Cancelled)),
        Some(Ok(loaded)) => Ok(loaded?),
        Some(Err(error)) => Err(CommandError::internal("Reading the inputs broke off").with_source(error)),
    }
}

/// Standard input without a buffer of ours: what is not read here is left for the upload of an archive.
struct UnbufferedStdin;

impl Read for UnbufferedStdin {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let descriptor = std::io::stdin().as_fd().try_clone_to_owned()?;
        File::from(descriptor).read(buffer)
    }
}

/// A variable that decides about outputs and cannot be read is said, and counts as not set.
fn warn_of_variable(ground: &Ground<'_>) {
    let variable = env_vars::BUILDX_NO_DEFAULT_LOAD;
    if let Some(text) = ground
        .environment
        .variables()
        .get(variable)
        .filter(|text| value::parse_bool(text).is_err())
    {
        ground
            .ui
            .warn(format!("invalid non-bool value for {variable}: {text}"));
    }
}

/// Said of a build that has succeeded: of a failed one there is nothing to keep.
fn warn_of_nothing(ui: &Ui, driver: &str) {
    ui.warn(format!(
        "No output specified with {driver} driver. Build result will only remain in the build cache. To push result image into registry use --push or to load image into docker use --load"
    ));
}

/// What git tells of the context; a warning is held back until the display has ended.
async fn source_control(
    ground: &Ground<'_>,
    request: &BuildRequest,
    inputs: &Inputs,
) -> BTreeMap<String, String> {
    let Some(folder) = inputs
        .mounts
        .get("context")
        .filter(|_| inputs.shared_key.is_some())
    else {
        return BTreeMap::new();
    };
    let wishes = source_control::wishes(ground.environment);
    let dockerfile = request
        .typed_dockerfile
        .as_deref()
        .filter(|path| *path != "-")
        .map(std::path::Path::new);
    let facts = git::facts(folder, dockerfile, &inputs.mounts, wishes).await;
    if let Some(warning) = facts.warning {
        ground.ui.warn(warning);
    }
    facts.attributes
}

/// One solve with all that it needs.
struct Solve<'a> {
    ground: &'a Ground<'a>,
    builder: &'a ChosenBuilder,
    request: &'a BuildRequest,
    inputs: &'a Inputs,
    sink: Sink,
}

/// What a build gave.
struct Kept {
    response: BTreeMap<String, String>,
    /// It stays in the daemon's cache only, and nobody asked for that.
    is_lost: bool,
}

impl Solve<'_> {
    /// Runs the solve and completes the daemon's response.
    async fn run(
        self,
        found: Found,
        source_control: &BTreeMap<String, String>,
        record: &Record<'_>,
    ) -> Result<Kept> {
        let Found { daemon, platforms } = found;
        let (abilities, capabilities) = tokio::join!(daemon.abilities(), daemon.client.capabilities());
        let abilities = abilities.map_err(failure::of_acquire)?;
        let capabilities = match capabilities {
            Ok(capabilities) => capabilities,
            Err(error) => return Err(failure::of_call(error, &daemon).await),
        };
        let engines = BuildEngines {
            ground: self.ground,
            builder: self.builder,
            node: &daemon.name,
            sink: &self.sink,
        };
        let unknown = Loads::new();
        let facts = NodeFacts {
            driver: &self.builder.driver,
            able_driver: None,
            abilities: &abilities,
            llb_caps: &capabilities.llb,
            platforms: &platforms,
            proxies: &self.ground.proxies,
            installation: &record.installation(),
            loads: &unknown,
        };
        let able = self.able_driver(&facts).await;
        let facts = NodeFacts {
            able_driver: able.as_deref(),
            loads: &engines.loads(self.request, &facts).await?,
            ..facts
        };
        let spec = self.spec(&facts, source_control)?;
        let reference = spec.reference.clone();
        record.keep(&daemon.name, &reference, self.request);
        let exporters = spec.exporters.clone();
        let solved = self.solve(&daemon, spec).await?;
        let mut response = solved.response;
        name_by_manifest(&exporters, &mut response);
        enter_layouts(&exporters, &response)?;
        if facts.is_pushed_by_engine() {
            engines.push(&exporters, &mut response).await?;
        }
        response.extend(
            record
                .provenance(&daemon, &reference, self.request, &self.sink)
                .await?,
        );
        let address = format!("{}/{}/{reference}", self.builder.name, daemon.name);
        response.insert(metadata::BUILD_REF.to_owned(), address);
        Ok(Kept {
            response,
            is_lost: solve_spec::keeps_nothing(self.request, &facts),
        })
    }

    /// The driver whose builders can what is refused here. Nobody is asked for it where nothing is.
    async fn able_driver(&self, facts: &NodeFacts<'_>) -> Option<String> {
        if !facts.is_limited() {
            return None;
        }
        let able = engine::driver_of_engines(self.ground.drivers).await;
        able.filter(|name| name != facts.driver)
    }

    fn spec(&self, facts: &NodeFacts<'_>, source_control: &BTreeMap<String, String>) -> Result<SolveSpec> {
        let registry = Arc::clone(&self.ground.registry);
        Ok(solve_spec::compose(
            self.request,
            self.inputs,
            source_control,
            facts,
            registry,
            StandardOutput::new(self.ground.ui.out_writer()),
        )?)
    }

    async fn solve(&self, daemon: &Daemon, spec: SolveSpec) -> Result<Solved> {
        let solved = daemon
            .client
            .solve(spec, self.sink.clone(), self.ground.cancel.clone())
            .await;
        match solved {
            Ok(solved) => Ok(solved),
            Err(error) => Err(failure::of_solve(error, daemon).await),
        }
    }
}

/// An engine with the containerd store calls an image by its manifest, so that is its id.
fn name_by_manifest(exporters: &[Exporter], response: &mut BTreeMap<String, String>) {
    let prefers = |exporter: &Exporter| value::is_true(exporter.attributes.get(PREFER_IMAGE_DIGEST));
    if exporters.iter().any(prefers) {
        response.remove("containerimage.config.digest");
    }
}

/// The daemon has put the image into the folder, but only the client knows what it is called there.
fn enter_layouts(exporters: &[Exporter], response: &BTreeMap<String, String>) -> Result<()> {
    let descriptor = response.get("containerimage.descriptor");
    let Some(descriptor) = descriptor.and_then(|text| STANDARD.decode(text).ok()) else {
        return Ok(());
    };
    let names = response.get("image.name").map_or("", String::as_str);
    for exporter in exporters {
        if let ExportTarget::Layout(folder) = &exporter.target {
            layout_index::enter(folder, &descriptor, names)?;
        }
    }
    Ok(())
}

/// Writes what the user asked to keep of a build that has ended well.
fn conclude(ui: &Ui, built: &Built, warnings: Vec<Warning>) -> Result<()> {
    let Built {
        request, response, ..
    } = built;
    if request.display.image_id {
        print(ui, format!("{}\n", image_id::image_id(response)))?;
    }
    if let Some(path) = &request.image_id_file {
        image_id::write(path, response)
            .map_err(|error| CommandError::from(error).prefixed("writing image ID file"))?;
    }
    if let Some(path) = &request.metadata_file {
        let mut values = metadata::decode(response);
        if request.switches.metadata_warnings && !warnings.is_empty() {
            values.insert(metadata::WARNINGS.to_owned(), record::warnings(warnings));
        }
        metadata::write(path, &values)?;
    }
    match response.get("frontend.result.inlinemessage") {
        Some(message) => print(ui, format!("\n{message}\n")),
        None => Ok(()),
    }
}

/// Writes data to stdout; a reader that has gone is a quiet end.
fn print(ui: &Ui, data: String) -> Result<()> {
    match ui.out(data) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CommandError::user("Cannot write to standard output").with_source(error))
        }
        _ => Ok(()),
    }
}

/// Platforms of a node as its record has them; what does not parse is not compared.
fn platforms_of(node: &NodeConfig) -> Vec<Platform> {
    node.platforms
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}
