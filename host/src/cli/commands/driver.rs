//! `driver ls` and `driver inspect`: what drivers there are and what each takes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli::settings::Context;
use crate::cli::status::check_driver;
use crate::cli::template::{self, Format};
use crate::cli::{args, print, table};
use crate::driver::node::{DriverInfo, OptionInfo};
use crate::error::{CommandError, Result};

/// Arguments of `driver`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bkhost driver ls\n  bkhost driver inspect remote")]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the drivers
    Ls(LsArgs),
    /// Show what a driver takes: its endpoint and options
    Inspect(InspectArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bkhost driver ls\n  bkhost driver ls --format '{{.Name}} {{.Version}}'")]
struct LsArgs {
    /// `table`, `table TEMPLATE`, `json`, or a Go template for each row
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    format: String,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bkhost driver inspect remote\n  bkhost driver inspect --format json remote"
)]
struct InspectArgs {
    /// `json`, or a Go template (default: a text for people)
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The driver
    #[arg(value_name = "DRIVER", required = true)]
    driver: String,
}

const COLUMNS: &[&str] = &["Name", "Version", "Summary"];
const HEADERS: &[(&str, &str)] = &[
    ("Name", "NAME"),
    ("Version", "VERSION"),
    ("Track", "TRACK"),
    ("Summary", "SUMMARY"),
    ("Endpoint", "ENDPOINT"),
    ("Options", "OPTIONS"),
    ("Optional", "OPTIONAL"),
    ("Error", "ERROR"),
];

/// Runs one of the two; without any, the help is shown.
pub async fn run(context: &Context<'_>, args: Args) -> Result<()> {
    match args.command {
        Some(Command::Ls(args)) => ls(context, &args).await,
        Some(Command::Inspect(args)) => inspect(context, &args).await,
        None => {
            let mut root = args::command();
            root.build();
            let help = root
                .find_subcommand_mut("driver")
                .map(|command| command.render_help().to_string());
            print(context.ui, help.unwrap_or_default())
        }
    }
}

async fn ls(context: &Context<'_>, args: &LsArgs) -> Result<()> {
    let mut rows = Vec::new();
    let mut troubles = Vec::new();
    for name in context.drivers.names() {
        rows.push(match context.drivers.info(&name).await {
            Ok(info) => object(&info, ""),
            Err(error) => {
                troubles.push(format!("Cannot load driver {name}: {error}"));
                let info = DriverInfo {
                    name,
                    ..DriverInfo::default()
                };
                object(&info, &error.to_string())
            }
        });
    }
    print(
        context.ui,
        template::render(&Format::parse(&args.format, COLUMNS), HEADERS, &rows)?,
    )?;
    troubles.into_iter().for_each(|line| context.ui.say(line));
    Ok(())
}

async fn inspect(context: &Context<'_>, args: &InspectArgs) -> Result<()> {
    check_driver(context, &args.driver).map_err(CommandError::from)?;
    let info = context.drivers.info(&args.driver).await?;
    let imports = context.drivers.imports(&args.driver).await?;
    match &args.format {
        Some(format) => print(
            context.ui,
            template::render(&Format::parse(format, &[]), HEADERS, &[whole(&info, &imports)])?,
        ),
        None => print(context.ui, text(&info, &imports)),
    }
}

fn object(info: &DriverInfo, error: &str) -> Value {
    let option = |option: &OptionInfo| {
        json!({
            "Name": option.name,
            "Kind": option.kind,
            "Default": option.default,
            "Help": option.help,
        })
    };
    json!({
        "Name": info.name,
        "Version": info.version,
        "Track": info.track,
        "Summary": info.summary,
        "Endpoint": {
            "Kind": info.endpoint.kind,
            "Schemes": info.endpoint.schemes,
            "Variable": info.endpoint.variable,
        },
        "Options": info.options.iter().map(option).collect::<Vec<_>>(),
        "Optional": info.optional,
        "Error": error,
    })
}

/// Functions by interface, as drivers import them.
type Imports = BTreeMap<String, Vec<String>>;

fn whole(info: &DriverInfo, imports: &Imports) -> Value {
    let mut object = object(info, "");
    if let Value::Object(fields) = &mut object {
        fields.insert("Imports".to_owned(), json!(imports));
    }
    object
}

/// Interfaces of the contract without its name and version, others whole; those that only lend their types are left out.
fn imported(imports: &Imports) -> String {
    let called = imports.iter().filter(|(_, functions)| !functions.is_empty());
    let names = called.map(|(name, _)| {
        let own = name
            .strip_prefix("bkhost:host/")
            .and_then(|rest| rest.split('@').next());
        own.unwrap_or(name)
    });
    names.collect::<Vec<_>>().join(", ")
}

fn text(info: &DriverInfo, imports: &Imports) -> String {
    let mut head = String::new();
    let _ = writeln!(head, "Name:\t{}", info.name);
    let _ = writeln!(head, "Version:\t{}", info.version);
    let _ = writeln!(head, "Track:\t{}", info.track);
    let _ = writeln!(head, "Summary:\t{}", info.summary);
    let _ = writeln!(head, "Endpoint:\t{}", info.endpoint.kind);
    if !info.endpoint.schemes.is_empty() {
        let _ = writeln!(head, "Schemes:\t{}", info.endpoint.schemes.join(", "));
    }
    if let Some(variable) = &info.endpoint.variable {
        let _ = writeln!(head, "Variable:\t{variable}");
    }
    if !info.optional.is_empty() {
        let _ = writeln!(head, "Optional:\t{}", info.optional.join(", "));
    }
    let imported = imported(imports);
    if !imported.is_empty() {
        let _ = writeln!(head, "Imports:\t{imported}");
    }
    let mut text = table::align(&head, table::BLOCK);
    if info.options.is_empty() {
        return text;
    }
    let mut options = String::from("OPTION\tKIND\tDEFAULT\tHELP\n");
    for option in &info.options {
        let default = option.default.as_deref().unwrap_or_default();
        let _ = writeln!(
            options,
            "{}\t{}\t{default}\t{}",
            option.name, option.kind, option.help
        );
    }
    text.push_str("\nOptions:\n");
    text.push_str(&table::align(&options, table::TABLE));
    text
}
