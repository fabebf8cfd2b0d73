//! `kennet consume`: records to standard output, for ever, to the end, or so many.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::time::Duration;

use kennet_client::{
    Client, ClientError, Consumer, ConsumerOptions, ErrorCode, FetchedRecord, GroupConsumer, GroupOptions, Offset,
    Start, TimestampMs, TopicPartition,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::closed_output::closed;
use crate::command_line::Consume;
use crate::error::{CliError, TERMINATED};
use crate::output::{Output, counted, note};
use crate::progress::Progress;
use crate::record_json::RecordLine;

const SESSION_TIMEOUT: Duration = Duration::from_secs(30);
/// A coordinator that answers at all answers within this time.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

pub(crate) async fn run(client: Client, output: &Output, options: Consume) -> Result<(), CliError> {
    let mut printer = Printer::new(*output, &options);
    // listens from here to the end: a signal during a wait is kept until somebody asks
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(end_anyway(signal(SignalKind::terminate())?));
    let outcome = match &options.group {
        None => while_wanted(&mut terminate, read_partitions(client, &options, &mut printer)).await,
        Some(group) => read_in_group(client, group, &options, &mut printer, &mut terminate).await,
    };
    printer.out.flush()?;
    outcome
}

/// SIGTERM ends the program also while it waits for a reader of its output who reads nothing.
async fn end_anyway(mut terminate: Signal) {
    terminate.recv().await;
    tokio::time::sleep(LEAVE_LIMIT + Duration::from_secs(1)).await;
    std::process::exit(TERMINATED.into());
}

/// Until the work is done, Ctrl-C, SIGTERM, or nobody is left to print for.
async fn while_wanted(
    terminate: &mut Signal,
    work: impl Future<Output = Result<(), CliError>>,
) -> Result<(), CliError> {
    tokio::select! {
        biased;
        _ = terminate.recv() => Err(CliError::Terminated),
        interrupt = tokio::signal::ctrl_c() => Err(interrupt.map_or_else(CliError::from, |()| CliError::Interrupted)),
        () = closed(std::io::stdout()) => Err(CliError::BrokenPipe),
        outcome = work => outcome,
    }
}

async fn read_partitions(client: Client, options: &Consume, printer: &mut Printer) -> Result<(), CliError> {
    let wanted = indexes(&client, options).await?;
    check_offset(&client, options, &wanted).await?;
    let start = start(options);
    let starts: BTreeMap<TopicPartition, Start> =
        wanted.iter().map(|index| (TopicPartition::new(&options.topic, *index), start)).collect();
    let ends = if options.to_end { Some(ends(&client, options, &wanted).await?) } else { None };
    let mut consumer = Consumer::new(client, ConsumerOptions::default());
    if let Some(ends) = ends {
        consumer.stop_at(ends);
    }
    consumer.assign(&starts).await?;
    while !consumer.is_at_end() {
        for fetched in consumer.poll(printer.limit()).await? {
            if printer.print(&fetched)? == Printed::Enough {
                return Ok(());
            }
        }
        printer.out.flush()?;
    }
    Ok(())
}

fn start(options: &Consume) -> Start {
    match (options.from_beginning, options.offset, options.from) {
        (true, ..) => Start::Earliest,
        (_, Some(offset), _) => Start::Offset(Offset(offset)),
        (.., Some(from)) => Start::Timestamp(from.look_up()),
        _ => Start::Latest,
    }
}

/// The partitions that are wanted. One that nobody leads is told at once: what is waited for it may be long.
async fn indexes(client: &Client, options: &Consume) -> Result<Vec<i32>, CliError> {
    let topic = client.topic(&options.topic).await?;
    let is_wanted = |index: i32| options.partitions.is_empty() || options.partitions.contains(&index);
    for one in topic.partitions.iter().filter(|one| one.leader.is_none() && is_wanted(one.index.0)) {
        let why = ClientError::NoLeader { partition: TopicPartition::new(&options.topic, one.index.0) };
        note(&format!("{why}; waiting for one"));
    }
    if options.partitions.is_empty() {
        return Ok(topic.partitions.iter().map(|partition| partition.index.0).collect());
    }
    Ok(options.partitions.clone())
}

/// An offset where a partition has nothing is a mistake: before an end that has passed nothing would be read without a word.
async fn check_offset(client: &Client, options: &Consume, partitions: &[i32]) -> Result<(), CliError> {
    let Some(offset) = options.offset else { return Ok(()) };
    let starts = offsets(client, options, partitions, TimestampMs::EARLIEST).await?;
    for (partition, end) in offsets(client, options, partitions, TimestampMs::LATEST).await? {
        let start = starts.get(&partition).map_or(0, |start| start.0);
        if !(start..=end.0).contains(&offset) {
            return Err(CliError::Failed(outside(&partition, offset, start, end.0)));
        }
    }
    Ok(())
}

fn outside(partition: &TopicPartition, offset: i64, start: i64, end: i64) -> String {
    format!(
        "offset {offset} is outside of partition {partition}, which has {start} to {end}: give --offset one of these, or --from-beginning"
    )
}

/// The partitions' ends as they are now: what comes later is not part of what was asked for.
async fn ends(
    client: &Client,
    options: &Consume,
    wanted: &[i32],
) -> Result<BTreeMap<TopicPartition, Offset>, CliError> {
    offsets(client, options, wanted, TimestampMs::LATEST).await
}

async fn offsets(
    client: &Client,
    options: &Consume,
    wanted: &[i32],
    at: TimestampMs,
) -> Result<BTreeMap<TopicPartition, Offset>, CliError> {
    let asked = wanted.iter().map(|index| (TopicPartition::new(&options.topic, *index), at)).collect();
    let found = client.list_offsets(&asked).await?;
    Ok(found.into_iter().map(|(partition, end)| (partition, end.offset)).collect())
}

async fn read_in_group(
    client: Client,
    group: &str,
    options: &Consume,
    printer: &mut Printer,
    terminate: &mut Signal,
) -> Result<(), CliError> {
    let mut ends_now = None;
    let look_up = async {
        let wanted = indexes(&client, options).await?;
        if options.to_end {
            ends_now = Some(ends(&client, options, &wanted).await?);
        }
        check_start(&client, group, options, &wanted).await
    };
    while_wanted(terminate, look_up).await?;
    let settings = GroupOptions {
        group: group.to_owned(),
        topics: vec![options.topic.clone()],
        start: start(options),
        session_timeout: SESSION_TIMEOUT,
        rebalance_timeout: SESSION_TIMEOUT * 2,
    };
    let mut consumer = GroupConsumer::new(client, settings, ConsumerOptions::default());
    if let Some(ends) = ends_now {
        consumer.stop_at(ends);
    }
    // a signal ends the reading only: the member still leaves, so that the others need not wait for its session to end
    let outcome = while_wanted(terminate, read_as_member(&mut consumer, printer)).await;
    // leaving is a courtesy: after a failure, or without an answer soon, the session ends by itself
    let left = tokio::time::timeout(LEAVE_LIMIT, consumer.leave()).await;
    outcome?;
    Ok(left.unwrap_or(Ok(()))?)
}

/// A start is for partitions that the group has not begun: a member that joins, or is started again, must not rewind what others have read.
/// Whoever wants that is told how.
async fn check_start(client: &Client, group: &str, options: &Consume, wanted: &[i32]) -> Result<(), CliError> {
    if start(options) == Start::Latest {
        return Ok(());
    }
    let committed = client.committed_offsets(group).await?;
    let begun = committed.keys().filter(|partition| partition.topic == options.topic).count();
    if begun > 0 {
        note(&format!(
            "group '{group}' has committed offsets in {} of {} and reads on from there: \
             kennet groups reset-offsets moves it",
            counted(begun, "partition"),
            options.topic
        ));
    }
    let is_new = |index: &&i32| !committed.contains_key(&TopicPartition::new(&options.topic, **index));
    check_offset(client, options, &wanted.iter().filter(is_new).copied().collect::<Vec<_>>()).await
}

async fn read_as_member(consumer: &mut GroupConsumer, printer: &mut Printer) -> Result<(), CliError> {
    loop {
        // no more than will be printed, so that no more is committed
        let records = consumer.poll(printer.limit()).await?;
        let mut enough = false;
        let count = records.len();
        for fetched in records {
            enough = printer.print(&fetched)? == Printed::Enough;
        }
        printer.out.flush()?;
        if count > 0 || enough {
            match consumer.commit().await {
                // the partitions are others' now, who will read these records again: at least once
                Err(error)
                    if matches!(
                        error.code(),
                        Some(
                            ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress | ErrorCode::UnknownMemberId
                        )
                    ) => {}
                outcome => outcome?,
            }
        }
        if enough || consumer.is_at_end() {
            return Ok(());
        }
    }
}

#[derive(PartialEq, Eq)]
enum Printed {
    More,
    Enough,
}

/// Writes records as the options want them.
struct Printer {
    out: BufWriter<std::io::Stdout>,
    json: bool,
    key_separator: Option<String>,
    left: Option<u64>,
    count: u64,
    progress: Progress,
}

impl Printer {
    fn new(output: Output, options: &Consume) -> Self {
        Self {
            out: BufWriter::with_capacity(1 << 18, std::io::stdout()),
            json: output.is_json(),
            key_separator: options.key_separator.clone(),
            left: options.max,
            count: 0,
            progress: Progress::read(),
        }
    }

    /// How many records are still wanted.
    fn limit(&self) -> usize {
        self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX))
    }

    fn print(&mut self, fetched: &FetchedRecord) -> Result<Printed, CliError> {
        if self.left == Some(0) {
            return Ok(Printed::Enough);
        }
        let record = &fetched.record;
        if self.json {
            serde_json::to_writer(&mut self.out, &RecordLine::of(fetched))
                .map_err(|error| CliError::from(std::io::Error::from(error)))?;
        } else {
            if let Some(separator) = &self.key_separator {
                self.out.write_all(record.key.as_deref().unwrap_or_default())?;
                self.out.write_all(separator.as_bytes())?;
            }
            self.out.write_all(record.value.as_deref().unwrap_or_default())?;
        }
        self.out.write_all(b"\n")?;
        self.count += 1;
        self.progress.set(self.count);
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Ok(if self.left == Some(0) { Printed::Enough } else { Printed::More })
    }
}
