//! The command line, as data: what can be asked and how it is written.

use clap::{Args, Parser, Subcommand};
use kennet_client::ClientOptions;

use crate::error::CliError;
use crate::output::OutputFormat;
use crate::time::{Instant, Length, Limit};

/// Where help shows what may stand behind each command, apart from what is the command's own.
const OF_EVERY_COMMAND: &str = "Global options";

/// Kennet from the command line: topics, consumer groups, records
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// What to print
    #[arg(long, short, global = true, value_enum, default_value_t, help_heading = OF_EVERY_COMMAND)]
    pub(crate) output: OutputFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to reach the cluster.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Brokers to start from, host:port separated by commas
    #[arg(
        long,
        short,
        global = true,
        env = "KENNET_BOOTSTRAP",
        default_value = "localhost:9092",
        help_heading = OF_EVERY_COMMAND
    )]
    pub(crate) bootstrap: String,
    /// How long one operation may take, with all of its attempts: 500ms, 30s, 2m
    #[arg(long, global = true, default_value = "30s", help_heading = OF_EVERY_COMMAND)]
    pub(crate) timeout: Limit,
}

impl Connection {
    /// As a client takes it. Checked here and not by clap: an address in the environment is nothing to commands that don't connect.
    pub(crate) fn options(&self) -> Result<ClientOptions, CliError> {
        ClientOptions::read(&self.bootstrap).map_err(|why| CliError::Usage(format!("--bootstrap: {why}")))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create, list, describe, change and delete topics
    #[command(subcommand)]
    Topics(Topics),
    /// Write records: a line of standard input each
    Produce(Produce),
    /// Read records
    Consume(Consume),
    /// List, describe, delete and rewind consumer groups
    #[command(subcommand)]
    Groups(Groups),
    /// Run a cluster on this machine from Kubernetes manifests
    #[command(subcommand)]
    Dev(Dev),
    /// Print a script that completes commands in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Apply a plan of an OffsetReset: what the operator's Job runs
    #[command(hide = true)]
    ResetApply(ResetApply),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Topics {
    /// Create a topic
    Create {
        /// Its name
        name: String,
        /// How many partitions; the cluster's default without
        #[arg(long, short, value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// How many replicas each; the cluster's default without
        #[arg(long, value_parser = clap::value_parser!(i16).range(1..))]
        replication_factor: Option<i16>,
        /// A config, as key=value; may be repeated
        #[arg(long = "config", short, value_parser = key_value)]
        config: Vec<(String, String)>,
        /// Only check whether it could be created
        #[arg(long)]
        dry_run: bool,
    },
    /// List topics
    List {
        /// Kafka's own topics too
        #[arg(long)]
        internal: bool,
        #[command(flatten)]
        orphaned: Orphaned,
    },
    /// Show partitions and configs of topics
    Describe {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Raise the number of partitions, change configs
    Alter {
        /// The topic
        name: String,
        /// The new number of partitions; it can only grow
        #[arg(long, short, value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// A config to set, as key=value; may be repeated
        #[arg(long = "config", short, value_parser = key_value)]
        config: Vec<(String, String)>,
        /// A config that goes back to its default; may be repeated
        #[arg(long, value_name = "KEY")]
        delete_config: Vec<String>,
        /// Only check whether it could be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete topics with their records
    Delete {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// Topics that nobody looks after, and where to ask for them.
#[derive(Debug, Args)]
pub(crate) struct Orphaned {
    /// Only topics without a Topic object in Kubernetes: retained when it was deleted, about to be deleted, or never declared. With `kennet dev` those that its
    /// file does not have
    #[arg(long, conflicts_with = "internal")]
    pub(crate) orphaned: bool,
    /// With --orphaned: a broker's management endpoint, host:port as its certificate names it; found by itself for a cluster of `kennet dev` in
    /// this directory
    #[arg(long, value_name = "ADDRESS", requires_all = ["orphaned", "certificates"])]
    pub(crate) management: Option<String>,
    /// With --management: a folder with ca.crt, and cli.crt and cli.key or another such pair; /etc/kennet-tls in a broker's pod
    #[arg(long, value_name = "FOLDER", requires = "management")]
    pub(crate) certificates: Option<std::path::PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Produce {
    /// The topic
    pub(crate) topic: String,
    /// Everything before this text in a line is the key
    #[arg(long, value_name = "TEXT", conflicts_with = "json")]
    pub(crate) key_separator: Option<String>,
    /// Write all records into this partition
    #[arg(long, short)]
    pub(crate) partition: Option<i32>,
    /// A header for each record, as key=value; may be repeated
    #[arg(long = "header", value_parser = key_value, conflicts_with = "json")]
    pub(crate) headers: Vec<(String, String)>,
    /// Lines are JSON as `kennet consume --output json` writes it; the topic and offset of a line are passed over
    #[arg(long)]
    pub(crate) json: bool,
    /// With --json: keep each record's partition
    #[arg(long, requires = "json", conflicts_with = "partition")]
    pub(crate) keep_partitions: bool,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, default_value = "none", value_parser = compression)]
    pub(crate) compression: kennet_client::Compression,
}

#[derive(Debug, Args)]
pub(crate) struct Consume {
    /// The topic
    pub(crate) topic: String,
    /// Read only this partition; may be repeated. Not with --group, whose members share the partitions out
    #[arg(long = "partition", short, value_name = "INDEX", group = "share")]
    pub(crate) partitions: Vec<i32>,
    /// Start at the oldest record; with --group where it has not committed an offset
    #[arg(long, group = "start")]
    pub(crate) from_beginning: bool,
    /// Start at this offset; with --group where it has not committed an offset
    #[arg(long, group = "start", requires = "share", allow_negative_numbers = true, value_parser = offset)]
    pub(crate) offset: Option<i64>,
    /// Start at the first record of this time or later, as 2026-11-01T12:00:00Z or milliseconds since 1970; with --group where it has not committed an offset
    #[arg(long, group = "start", value_name = "TIME")]
    pub(crate) from: Option<Instant>,
    /// Stop at the end as it was when reading began; a member of a group at the end of its own share
    #[arg(long)]
    pub(crate) to_end: bool,
    /// Stop after so many records
    #[arg(long, short, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max: Option<u64>,
    /// Read as a member of this group, and commit what was read
    #[arg(long, short, group = "share")]
    pub(crate) group: Option<String>,
    /// Print key and value with this text between them
    #[arg(long, value_name = "TEXT")]
    pub(crate) key_separator: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Groups {
    /// List groups
    List,
    /// Show members, offsets and lag of groups
    Describe {
        /// Their ids
        #[arg(required = true)]
        groups: Vec<String>,
    },
    /// Delete groups that have no members
    Delete {
        /// Their ids
        #[arg(required = true)]
        groups: Vec<String>,
    },
    /// Show where a group would be moved; move it with --execute
    ResetOffsets(Box<ResetOffsets>),
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("target").required(true))]
#[command(group = clap::ArgGroup::new("whose").args(["groups", "all_groups", "from_file"]).required(true).multiple(true))]
#[command(group = clap::ArgGroup::new("scope").args(["topics", "all_topics", "from_file"]).required(true).multiple(true))]
pub(crate) struct ResetOffsets {
    /// The group; may be repeated
    #[arg(long = "group", short)]
    pub(crate) groups: Vec<String>,
    /// Every group that has something to move; those with members stay, and are told at the end
    #[arg(long, conflicts_with = "groups")]
    pub(crate) all_groups: bool,
    /// A topic, or some of its partitions as topic:0,1; may be repeated
    #[arg(long = "topic", short)]
    pub(crate) topics: Vec<String>,
    /// Everything that the group has committed an offset for
    #[arg(long, conflicts_with = "topics")]
    pub(crate) all_topics: bool,
    /// To the oldest records
    #[arg(long, group = "target")]
    pub(crate) to_earliest: bool,
    /// To the end
    #[arg(long, group = "target")]
    pub(crate) to_latest: bool,
    /// To where it is; partitions without an offset to the end
    #[arg(long, group = "target")]
    pub(crate) to_current: bool,
    /// To this offset in every partition
    #[arg(long, group = "target", allow_negative_numbers = true, value_parser = to_offset)]
    pub(crate) to_offset: Option<i64>,
    /// So many records on, or back when negative
    #[arg(long, group = "target", allow_negative_numbers = true)]
    pub(crate) shift_by: Option<i64>,
    /// To the first records of this time or later, as 2026-11-01T12:00:00Z or milliseconds since 1970
    #[arg(long, group = "target", value_name = "TIME")]
    pub(crate) to_datetime: Option<Instant>,
    /// To the first records that are at most this old: PT30M, P1D, 24h
    #[arg(long, group = "target", value_name = "DURATION")]
    pub(crate) by_duration: Option<Length>,
    /// To the offsets of a file that --export wrote
    #[arg(long, group = "target", value_name = "FILE", conflicts_with_all = ["topics", "all_topics"])]
    pub(crate) from_file: Option<std::path::PathBuf>,
    /// Do it; without this flag the plan is only shown
    #[arg(long)]
    pub(crate) execute: bool,
    /// Print the plan as CSV, in the format of Kafka's tools; not with --output json
    #[arg(long, conflicts_with = "execute")]
    pub(crate) export: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dev {
    /// Start the cluster of a file and stay until Ctrl-C
    Up {
        /// A KafkaCluster and its Topics, as YAML
        #[arg(long, short)]
        file: std::path::PathBuf,
        /// The first of ten ports, or auto
        #[arg(long, default_value = "auto", value_parser = base_port)]
        base_port: BasePort,
    },
    /// Show the clusters of this directory
    Status {
        /// Only this one
        cluster: Option<String>,
    },
    /// Stop them; their data stays
    Down {
        /// Only this one
        cluster: Option<String>,
    },
}

/// A number, or none for any that is free.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BasePort(pub(crate) Option<u16>);

#[derive(Debug, Args)]
pub(crate) struct ResetApply {
    /// The plan, as JSON
    #[arg(long)]
    pub(crate) plan: std::path::PathBuf,
    /// When it is too late to commit: the OffsetReset's spec.notAfter
    // from the environment in a Job, because the image of a cluster may be older than the operator and not know the argument
    #[arg(long, env = "KENNET_NOT_AFTER")]
    pub(crate) not_after: Option<Instant>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = parts.ok_or_else(|| format!("'{text}' has no key and value: expected key=value"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn base_port(text: &str) -> Result<BasePort, String> {
    if text == "auto" {
        return Ok(BasePort(None));
    }
    let port = text.parse().map_err(|_| format!("'{text}' is not a port: expected a number or auto"))?;
    Ok(BasePort(Some(port)))
}

fn offset(text: &str) -> Result<i64, String> {
    whole(text, "--from-beginning starts at the oldest record")
}

fn to_offset(text: &str) -> Result<i64, String> {
    whole(text, "--to-earliest goes to the oldest record, --shift-by so many on or back")
}

fn whole(text: &str, instead: &str) -> Result<i64, String> {
    let offset = text.parse().ok().filter(|offset| *offset >= 0);
    offset.ok_or_else(|| format!("expected a whole number from 0; {instead}"))
}

fn compression(text: &str) -> Result<kennet_client::Compression, String> {
    kennet_client::Compression::from_name(text)
        .ok_or_else(|| format!("'{text}' is no codec: expected none, gzip, snappy, lz4 or zstd"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    #[test]
    fn reading_no_record_at_all_is_refused() {
        let read = |words: &str| super::Arguments::try_parse_from(words.split(' '));
        assert!(read("kennet consume t --max 0 --from-beginning").unwrap_err().to_string().contains("--max"));
        assert!(read("kennet consume t --max 1 --from-beginning").is_ok());
    }

    #[test]
    fn an_offset_below_zero_is_told_what_would_be_right() {
        for offset in ["--offset -1", "--offset=-1", "--offset latest"] {
            let words = format!("kennet consume t -p 0 {offset}");
            let said = super::Arguments::try_parse_from(words.split(' ')).unwrap_err().to_string();
            assert!(said.contains("'--offset <OFFSET>'") && said.contains("--from-beginning"), "{said}");
        }
    }

    #[test]
    fn a_start_goes_with_a_group_and_a_choice_of_partitions_does_not() {
        let read = |words: &str| super::Arguments::try_parse_from(words.split(' ')).is_ok();
        assert!(read("kennet consume t --group g --from 2026-01-01T00:00:00Z"));
        assert!(read("kennet consume t --group g --offset 5"));
        assert!(read("kennet consume t --partition 0 --partition 1 --offset 5"));
        assert!(!read("kennet consume t --offset 5"));
        assert!(!read("kennet consume t --group g --partition 0"));
    }
}
