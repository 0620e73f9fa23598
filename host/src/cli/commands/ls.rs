//! `ls`: builders and their nodes.

use serde_json::{Value, json};

use crate::cli::args::Timeout;
use crate::cli::builders::{LOCAL, Origin};
use crate::cli::engine::{self, Active};
use crate::cli::settings::{Context, current_name};
use crate::cli::status::{self, BuilderReport, NodeReport};
use crate::cli::template::{self, Format};
use crate::cli::{builders, platform_summary, print, show};
use crate::driver::node::State;
use crate::error::{CommandError, Result};

/// Arguments of `ls`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// `table`, `table TEMPLATE`, `json`, or a Go template for each row
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    format: String,
    /// Show all platforms in a table
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    timeout: Timeout,
}

const EXAMPLES: &str = "Examples:
  bkhost ls
  bkhost ls --format json | jq -r 'select(.Current).Name'
  bkhost ls --format '{{.Name}}: {{.Status}}'";

const COLUMNS: &[&str] = &["Name", "DriverEndpoint", "Status", "Buildkit", "Platforms"];
const HEADERS: &[(&str, &str)] = &[
    ("Name", "NAME/NODE"),
    ("DriverEndpoint", "DRIVER/ENDPOINT"),
    ("LastActivity", "LAST ACTIVITY"),
    ("Status", "STATUS"),
    ("Buildkit", "BUILDKIT"),
    ("Platforms", "PLATFORMS"),
];

struct Rows<'a> {
    context: &'a Context<'a>,
    table: bool,
    short: bool,
    /// Whether a row carries what the columns of a plain table do not show.
    whole: bool,
    rows: Vec<Value>,
}

/// Lists everything; what cannot be reached is a row, not a failure. Only where nothing is current, because the docker
/// context that was chosen does not exist, it fails after that.
pub async fn run(context: &Context<'_>, args: &Args) -> Result<()> {
    let format = Format::parse(&args.format, COLUMNS);
    let all = builders::all(context).await?;
    let current = current_name(context).await;
    let mut reports = status::load_all(context, all.builders, args.timeout.timeout).await;
    let has_engine = matches!(engine::active(context), Ok(Active::There(_)));
    reports.retain(|report| !has_engine || current == report.builder.name() || !is_spare(report));
    // A stable sort: those that cannot be loaded come last, otherwise the order stays.
    reports.sort_by_key(|report| report.error.is_some());
    let mut rows = Rows {
        context,
        table: format.is_table(),
        short: format.is_table() && !args.no_trunc,
        whole: !matches!(&format, Format::Columns(_)),
        rows: Vec::new(),
    };
    for report in &reports {
        let current = current == report.builder.name();
        if format == Format::Json {
            rows.rows.push(show::builder(context, report, current));
        } else {
            rows.add(report, current);
        }
    }
    print(context.ui, template::render(&format, HEADERS, &rows.rows)?)?;
    for error in all.broken {
        context.ui.warn(CommandError::from(error).line());
    }
    if let Some(error) = all.contexts {
        context.ui.warn(CommandError::from(error).line());
    }
    all.warnings.iter().for_each(|warning| context.ui.warn(warning));
    if format.is_table() {
        say_troubles(context, &reports);
    }
    match current.is_empty() {
        true => engine::check_context(context),
        false => Ok(()),
    }
}

/// Whether it is the builder for machines without an engine, and nothing of it is there.
fn is_spare(report: &BuilderReport) -> bool {
    let is_unused = |node: &NodeReport| node.error.is_none() && node.state == Some(State::Inactive);
    let builder = &report.builder;
    builder.origin == Origin::Implicit
        && builder.name() == LOCAL
        && report.error.is_none()
        && report.nodes.iter().all(is_unused)
}

impl Rows<'_> {
    fn add(&mut self, report: &BuilderReport, current: bool) {
        let record = &report.builder.record;
        let (object, activity) = match self.whole {
            true => (
                show::builder(self.context, report, current),
                self.context.store.activity(&record.name),
            ),
            false => (Value::Null, None),
        };
        let star = if current && self.table { "*" } else { "" };
        let error = report.error.as_ref().map(|error| error.message.as_str());
        self.rows.push(json!({
            "Name": format!("{}{star}", record.name),
            "DriverEndpoint": record.driver,
            "LastActivity": activity.map(|time| time.to_string()).unwrap_or_default(),
            "Status": if error.is_some() { "error" } else { "" },
            "Buildkit": "",
            "Platforms": "",
            "Error": error.unwrap_or_default(),
            "Builder": object,
        }));
        if error.is_some() {
            return;
        }
        for node in &report.nodes {
            let row = self.node(node, &object);
            self.rows.push(row);
        }
    }

    fn node(&self, node: &NodeReport, builder: &Value) -> Value {
        let prefix = if self.table { " \\_ " } else { "" };
        let platforms = node.platforms();
        let platforms = if self.short {
            platform_summary::short(&platforms, node.fixed_platforms())
        } else {
            platform_summary::full(&platforms, node.fixed_platforms())
        };
        json!({
            "Name": format!("{prefix}{}", node.node.name),
            "DriverEndpoint": format!("{prefix}{}", node.node.endpoint),
            "LastActivity": "",
            "Status": node.status_word(),
            "Buildkit": node.version.as_deref().unwrap_or_default(),
            "Platforms": platforms,
            "Error": node.error.as_ref().map(|error| error.message.as_str()).unwrap_or_default(),
            "Builder": builder,
        })
    }
}

fn say_troubles(context: &Context<'_>, reports: &[BuilderReport]) {
    let mut lines = Vec::new();
    for report in reports {
        let name = report.builder.name();
        if let Some(error) = &report.error {
            lines.push(format!("Cannot load builder {name}: {}", error.message));
        }
        for node in &report.nodes {
            if let Some(error) = &node.error {
                lines.push(format!(
                    "Failed to get status for {name} ({}): {}",
                    node.node.name, error.message
                ));
            }
            if let Some(settings) = &node.drift {
                let way_out = format!("Apply them with `bkhost renew {name}`");
                lines.push(format!(
                    "{name} ({}) runs with other settings than configured: {settings}. {}",
                    node.node.name,
                    context.environment.called.respelled(&way_out)
                ));
            }
        }
    }
    if !lines.is_empty() {
        context.ui.say("");
    }
    lines.into_iter().for_each(|line| context.ui.say(line));
}
