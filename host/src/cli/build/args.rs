//! The command line of `build`, as text; the doc comments are its help.

use clap::Args;

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

/// Start a build
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct BuildArgs {
    /// Folder, git or http address, or `-` for standard input
    #[arg(value_name = "PATH | URL | -")]
    pub context: String,

    /// Add a custom host-to-IP mapping (format: "host:ip"; repeatable)
    #[arg(long, value_name = "HOST:IP")]
    pub add_host: Vec<String>,

    /// Allow extra privileged entitlement (e.g., "network.host", "security.insecure", "device"; repeatable)
    #[arg(long, value_name = "ENTITLEMENT")]
    pub allow: Vec<String>,

    /// Add annotation to the image (format: "[TYPE[[PLATFORM]][,TYPE...]:]KEY=VALUE"; repeatable)
    #[arg(long, value_name = "ANNOTATION")]
    pub annotation: Vec<String>,

    /// Attestation parameters (format: "type=sbom,generator=image"; repeatable)
    #[arg(long, value_name = "ATTESTATION")]
    pub attest: Vec<String>,

    /// Set build-time variables; the value of KEY alone comes from the environment (repeatable)
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub build_arg: Vec<String>,

    /// Additional build contexts (e.g., "name=path"; repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    pub build_context: Vec<String>,

    /// External cache sources (e.g., "user/app:cache", "type=registry,ref=user/app:cache"; repeatable)
    #[arg(long, value_name = "CACHE")]
    pub cache_from: Vec<String>,

    /// Cache export destinations (e.g., "user/app:cache", "type=inline"; repeatable)
    #[arg(long, value_name = "CACHE")]
    pub cache_to: Vec<String>,

    /// Set the parent cgroup for the "RUN" instructions during build
    #[arg(long, value_name = "CGROUP")]
    pub cgroup_parent: Option<String>,

    /// Name of the Dockerfile (default: "PATH/Dockerfile"), or `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<String>,

    /// Write the image ID to a file
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<String>,

    /// Set metadata for an image (repeatable)
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub label: Vec<String>,

    /// Shorthand for "--output=type=docker"
    #[arg(long)]
    pub load: bool,

    /// Write build result metadata to a file
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<String>,

    /// Set the networking mode for the "RUN" instructions during build
    #[arg(long, value_name = "MODE", default_value = "default")]
    pub network: String,

    /// Do not use cache when building the image
    #[arg(long)]
    pub no_cache: bool,

    /// Do not cache specified stages (repeatable)
    #[arg(long, value_name = "STAGE")]
    pub no_cache_filter: Vec<String>,

    /// Output destination (format: "type=local,dest=path"; repeatable)
    #[arg(short, long, value_name = "OUTPUT")]
    pub output: Vec<String>,

    /// Set target platform for build (default: $DOCKER_DEFAULT_PLATFORM; repeatable)
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Vec<String>,

    /// Set type of progress output ("auto", "none", "plain", "quiet", "rawjson", "tty")
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub progress: String,

    /// Shorthand for "--attest=type=provenance"
    #[arg(long, value_name = "PROVENANCE")]
    pub provenance: Option<String>,

    /// Always attempt to pull all referenced images
    #[arg(long)]
    pub pull: bool,

    /// Shorthand for "--output=type=registry,unpack=false"
    #[arg(long)]
    pub push: bool,

    /// Suppress the build output and print image ID on success
    #[arg(short, long)]
    pub quiet: bool,

    /// Shorthand for "--attest=type=sbom"
    #[arg(long, value_name = "SBOM")]
    pub sbom: Option<String>,

    /// Secret to expose to the build (format: "id=mysecret[,src=/local/secret]"; repeatable)
    #[arg(long, value_name = "SECRET")]
    pub secret: Vec<String>,

    /// Shared memory size for build containers
    #[arg(long, value_name = "BYTES", default_value = "0")]
    pub shm_size: String,

    /// Image identifier (format: "[registry/]repository[:tag]"; repeatable)
    #[arg(short, long, value_name = "NAME")]
    pub tag: Vec<String>,

    /// Set the target build stage to build
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,

    /// Ulimit options (repeatable)
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<String>,
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
