//! The command line of `build`, as text; the doc comments are its help.

use clap::Args;

use super::retired::RetiredFlags;

const EXAMPLES: &str = "\
Examples:
  Build the folder here and keep the result as files:
    bkhost build --output out .

  Build for two platforms and push the image:
    bkhost build --platform linux/amd64,linux/arm64 -t registry.example/app:1 --push .

  Write an OCI archive, with a Dockerfile of another name:
    bkhost build -f docker/Release.Dockerfile -t app:1 --output type=oci,dest=app.tar .

  Give a step a secret that never becomes part of the image:
    bkhost build --secret id=npm,src=$HOME/.npmrc .

  Keep a cache beside the image:
    bkhost build --cache-from registry.example/app:cache --cache-to type=registry,ref=registry.example/app:cache,mode=max .

  Build from standard input:
    echo 'FROM scratch' | bkhost build --output out -
    git archive HEAD | bkhost build --output out -";

/// Build from a Dockerfile
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct BuildArgs {
    /// Folder, git or http address, or `-` for standard input
    #[arg(value_name = "PATH | URL | -")]
    pub context: String,

    /// Add a line to the hosts file of build steps (repeatable)
    #[arg(long, value_name = "HOST:IP")]
    pub add_host: Vec<String>,

    /// Let the build do more than usual: network.host, security.insecure, device or buildx.local.delete (repeatable)
    #[arg(long, value_name = "ENTITLEMENT")]
    pub allow: Vec<String>,

    /// Annotate the image: [TYPE[[PLATFORM]][,TYPE...]:]KEY=VALUE (repeatable)
    #[arg(long, value_name = "ANNOTATION")]
    pub annotation: Vec<String>,

    /// Attach an attestation, such as type=sbom or type=provenance,mode=max (repeatable)
    #[arg(long, value_name = "ATTESTATION")]
    pub attest: Vec<String>,

    /// Set a build argument; KEY alone takes its value from the environment (repeatable)
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub build_arg: Vec<String>,

    /// Give a context a name: a folder, docker-image://, oci-layout://, a git or http address (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    pub build_context: Vec<String>,

    /// Read cache from an image reference or type=registry,ref=... (repeatable)
    #[arg(long, value_name = "CACHE")]
    pub cache_from: Vec<String>,

    /// Write cache to an image reference, type=registry,ref=... or type=inline (repeatable)
    #[arg(long, value_name = "CACHE")]
    pub cache_to: Vec<String>,

    /// Put build steps under this control group
    #[arg(long, value_name = "CGROUP")]
    pub cgroup_parent: Option<String>,

    /// Dockerfile to read (default: Dockerfile of the context); `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<String>,

    /// Write the image id to this file
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<String>,

    /// Add a label to the image; KEY alone has an empty value (repeatable)
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub label: Vec<String>,

    /// Load the image into a container engine
    #[arg(long)]
    pub load: bool,

    /// Write what is known of the result to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<String>,

    /// Network of build steps: default, host or none
    #[arg(long, value_name = "MODE", default_value = "default")]
    pub network: String,

    /// Run every step again
    #[arg(long)]
    pub no_cache: bool,

    /// Run every step of this stage again (repeatable)
    #[arg(long, value_name = "STAGE")]
    pub no_cache_filter: Vec<String>,

    /// Keep the result: a folder, `-` for a tar archive, or type=local|tar|oci|docker|image|registry,dest=PATH (repeatable)
    #[arg(short, long, value_name = "OUTPUT")]
    pub output: Vec<String>,

    /// Build for these platforms (default: $DOCKER_DEFAULT_PLATFORM; repeatable)
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Vec<String>,

    /// How to show the build: auto, none, plain, quiet, rawjson or tty
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub progress: String,

    /// Attach provenance: true, false, or attributes such as mode=max
    #[arg(long, value_name = "PROVENANCE")]
    pub provenance: Option<String>,

    /// Look for newer images of every FROM
    #[arg(long)]
    pub pull: bool,

    /// Push the image to its registry
    #[arg(long)]
    pub push: bool,

    /// Show nothing, and print the image id at the end
    #[arg(short, long)]
    pub quiet: bool,

    /// Attach a list of what the image contains: true, false, or attributes
    #[arg(long, value_name = "SBOM")]
    pub sbom: Option<String>,

    /// Hand a secret to steps: id=NAME,src=FILE or id=NAME,env=VARIABLE (repeatable)
    #[arg(long, value_name = "SECRET")]
    pub secret: Vec<String>,

    /// Size of /dev/shm in build steps, such as 64m
    #[arg(long, value_name = "BYTES", default_value = "0")]
    pub shm_size: String,

    /// Name the image: [REGISTRY/]NAME[:TAG] (repeatable)
    #[arg(short, long, value_name = "NAME")]
    pub tag: Vec<String>,

    /// Build this stage of the Dockerfile
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,

    /// Limit a resource of build steps (repeatable)
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<String>,

    /// What has no effect any more.
    #[command(flatten)]
    pub retired: RetiredFlags,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn parsed(arguments: &[&str]) -> Result<BuildArgs, clap::Error> {
        let command = BuildArgs::augment_args(Command::new("build")).args_override_self(true);
        let matches = command.try_get_matches_from(std::iter::once(&"build").chain(arguments))?;
        BuildArgs::from_arg_matches(&matches)
    }

    #[test]
    fn flags_and_the_context_mix() {
        let args = parsed(&["--push", ".", "-t", "a", "-t=b", "--no-cache"]).unwrap();
        assert_eq!(args.context, ".");
        assert_eq!(args.tag, ["a", "b"]);
        assert!(args.push && args.no_cache && !args.pull);
    }

    #[test]
    fn the_last_of_a_single_value_wins() {
        let args = parsed(&[
            "--target",
            "a",
            "--target=b",
            "--add-host",
            "a:1",
            "--add-host=b:2",
            ".",
        ])
        .unwrap();
        assert_eq!(args.target.unwrap(), "b");
        assert_eq!(args.add_host.len(), 2);
    }

    #[test]
    fn exactly_one_context_is_taken() {
        assert!(parsed(&[]).is_err());
        assert!(parsed(&["a", "b"]).is_err());
        assert_eq!(parsed(&["-"]).unwrap().context, "-");
    }
}
