//! `kennet consume`: records to standard output, for ever, to the end, or so many.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::time::Duration;

use kennet_client::{
    Client, Consumer, ConsumerOptions, ErrorCode, FetchedRecord, GroupConsumer, GroupOptions, Offset, Start,
    TimestampMs, TopicPartition,
};

use crate::command_line::Consume;
use crate::error::CliError;
use crate::output::Output;
use crate::progress::Progress;
use crate::record_json::RecordLine;

const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) async fn run(client: Client, output: &Output, options: Consume) -> Result<(), CliError> {
    let mut printer = Printer::new(*output, &options);
    let outcome = match &options.group {
        None => until_interrupted(read_partitions(client, &options, &mut printer)).await,
        Some(group) => read_in_group(client, group, &options, &mut printer).await,
    };
    printer.out.flush()?;
    outcome
}

async fn until_interrupted(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    tokio::select! {
        biased;
        interrupt = tokio::signal::ctrl_c() => Err(interrupt.map_or_else(CliError::from, |()| CliError::Interrupted)),
        outcome = work => outcome,
    }
}

async fn read_partitions(client: Client, options: &Consume, printer: &mut Printer) -> Result<(), CliError> {
    let topic = client.topic(&options.topic).await?;
    let mut wanted: Vec<i32> = options.partitions.clone();
    if wanted.is_empty() {
        wanted = topic.partitions.iter().map(|partition| partition.index.0).collect();
    }
    let start = match (options.from_beginning, options.offset, options.from) {
        (true, ..) => Start::Earliest,
        (_, Some(offset), _) => Start::Offset(Offset(offset)),
        (.., Some(from)) => Start::Timestamp(from.look_up()),
        _ => Start::Latest,
    };
    let starts: BTreeMap<TopicPartition, Start> =
        wanted.iter().map(|index| (TopicPartition::new(&options.topic, *index), start)).collect();
    let latest = starts.keys().map(|partition| (partition.clone(), TimestampMs::LATEST)).collect();
    let ends = client.list_offsets(&latest).await?;
    let mut consumer = Consumer::new(client, ConsumerOptions::default());
    consumer.assign(&starts).await?;
    loop {
        let at_end = |partition: &TopicPartition| {
            let position = consumer.position(partition).unwrap_or(Offset(i64::MAX));
            ends.get(partition).is_none_or(|end| position >= end.offset)
        };
        if options.to_end && starts.keys().all(at_end) {
            return Ok(());
        }
        for fetched in consumer.poll(printer.limit()).await? {
            // what came after the end was looked up is not part of what was asked for
            let past =
                options.to_end && ends.get(&fetched.partition).is_some_and(|end| fetched.record.offset >= end.offset);
            if !past && printer.print(&fetched)? == Printed::Enough {
                return Ok(());
            }
        }
        printer.out.flush()?;
    }
}

async fn read_in_group(client: Client, group: &str, options: &Consume, printer: &mut Printer) -> Result<(), CliError> {
    until_interrupted(async { Ok(client.topic(&options.topic).await.map(drop)?) }).await?;
    let settings = GroupOptions {
        group: group.to_owned(),
        topics: vec![options.topic.clone()],
        start: if options.from_beginning { Start::Earliest } else { Start::Latest },
        session_timeout: SESSION_TIMEOUT,
        rebalance_timeout: SESSION_TIMEOUT * 2,
    };
    let mut consumer = GroupConsumer::new(client, settings, ConsumerOptions::default());
    // an interrupt ends the reading only: the member still leaves, so that the others need not wait for its session to end
    let outcome = until_interrupted(read_as_member(&mut consumer, options, printer)).await;
    // leaving is a courtesy: after a failure the session ends by itself
    let left = consumer.leave().await;
    outcome?;
    Ok(left?)
}

async fn read_as_member(
    consumer: &mut GroupConsumer,
    options: &Consume,
    printer: &mut Printer,
) -> Result<(), CliError> {
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
        let mut assigned = consumer.assigned().peekable();
        let at_end = assigned.peek().is_some() && assigned.all(|partition| consumer.lag(partition) == Some(0));
        if enough || (options.to_end && count == 0 && at_end) {
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
