//! `kennet produce`: lines of standard input into a topic.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use kennet_client::{Client, ClientError, Delivery, Header, NewRecord, PartitionIndex, Producer, ProducerOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock;
use crate::command_line::Produce;
use crate::error::CliError;
use crate::output::{Output, counted};
use crate::progress::Progress;
use crate::record_json::RecordLine;

/// Records whose acknowledgement is outstanding.
const UNACKNOWLEDGED_MAX: usize = 4096;
/// The longest line: a record can't be longer than a batch of 32 bits anyway.
const LINE_BYTES_MAX: u64 = 256 << 20;

/// The first Ctrl-C ends the reading, and what was read is still written; the second does not wait for that.
pub(crate) async fn run(client: Client, output: &Output, options: Produce) -> Result<(), CliError> {
    // listens from here to the end: a signal during a wait is kept until somebody asks
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(false);
    let interrupted_twice = async {
        interrupt.recv().await;
        stop.send_replace(true);
        interrupt.recv().await;
    };
    let mut lines = Lines::new(&options);
    tokio::select! {
        biased;
        () = interrupted_twice => return lines.given_up(),
        outcome = lines.write(client, stopped) => outcome?,
    }
    let written = lines.tally.written;
    drop(lines);
    if output.is_json() {
        return output.say("", &json!({"topic": options.topic, "records": written}));
    }
    crate::output::note(&format!("{} written to {}", counted(written, "record"), options.topic));
    Ok(())
}

/// Lines on their way into the topic, each with its number.
struct Lines<'a> {
    options: &'a Produce,
    waiting: VecDeque<(u64, Delivery)>,
    tally: Tally,
    progress: Progress,
}

impl<'a> Lines<'a> {
    fn new(options: &'a Produce) -> Self {
        Self { options, waiting: VecDeque::new(), tally: Tally::default(), progress: Progress::written() }
    }

    /// Until the input ends, a line is no record, one is refused, or `stopped` says so; then until all that was read is acknowledged or refused.
    async fn write(&mut self, client: Client, mut stopped: watch::Receiver<bool>) -> Result<(), CliError> {
        let stop = async { drop(stopped.wait_for(|stopped| *stopped).await) };
        tokio::pin!(stop);
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            // a missing topic is said at once, not after the last attempt
            known = client.topic(&self.options.topic) => drop(known?),
        }
        let settings = ProducerOptions { compression: self.options.compression, ..ProducerOptions::default() };
        let producer = Producer::new(client, settings);
        let unread = self.read(&producer, stop).await.err();
        while !self.waiting.is_empty() && !self.tally.in_vain {
            self.settle_one().await;
        }
        // no answer can be expected any more, but some are there
        while let Some((line, delivery)) = self.waiting.front_mut() {
            match timeout(Duration::ZERO, delivery.wait()).await {
                Ok(outcome) => self.tally.count(*line, outcome.map(drop)),
                Err(_) => self.tally.unknown += 1,
            }
            self.waiting.pop_front();
        }
        self.tally.outcome(&self.options.topic, unread)
    }

    async fn read(&mut self, producer: &Producer, mut stop: impl Future<Output = ()> + Unpin) -> Result<(), Unread> {
        let mut input = BufReader::with_capacity(1 << 20, tokio::io::stdin());
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let mut limited = (&mut input).take(LINE_BYTES_MAX + 1);
            let read = tokio::select! {
                biased;
                () = &mut stop => break,
                read = limited.read_until(b'\n', &mut line) => read,
            };
            if read.map_err(|source| Unread { line: None, why: format!("reading standard input: {source}") })? == 0 {
                break;
            }
            let here = |why| Unread { line: Some(number), why };
            let record = record_of(&mut line, self.options).map_err(here)?;
            let sent = producer.send(record).await;
            self.waiting.push_back((number, sent.map_err(|error| here(CliError::from(error).to_string()))?));
            if self.waiting.len() >= UNACKNOWLEDGED_MAX {
                self.settle_one().await;
            }
            if self.tally.failed.is_some() {
                break;
            }
        }
        Ok(())
    }

    async fn settle_one(&mut self) {
        // it stays in the queue while it is waited for, so that it is counted if the wait is given up
        if let Some((line, first)) = self.waiting.front_mut() {
            let outcome = first.wait().await;
            self.tally.count(*line, outcome.map(drop));
            self.waiting.pop_front();
            self.progress.set(self.tally.written);
        }
    }

    fn given_up(&self) -> Result<(), CliError> {
        let (written, left) = (self.tally.written, self.waiting.len());
        let message =
            format!("stopped with {} not acknowledged yet; {}", counted(left, "record"), are_written(written));
        let numbers = [("topic", json!(self.options.topic)), ("records", written.into()), ("unknown", left.into())];
        Err(partly(message, numbers))
    }
}

/// Why reading ended before the input did.
struct Unread {
    line: Option<u64>,
    why: String,
}

/// What became of lines that were sent.
#[derive(Debug, Default)]
struct Tally {
    /// They are acknowledged.
    written: u64,
    /// The first that is not, and why.
    failed: Option<(u64, String)>,
    /// Those behind it that are not written either.
    refused: u64,
    /// Those that nobody has heard of.
    unknown: u64,
    /// The cluster answers no more: waiting for the others would take as long for each batch.
    in_vain: bool,
}

impl Tally {
    /// Outcomes come in the order of lines.
    fn count(&mut self, line: u64, outcome: Result<(), ClientError>) {
        let Err(error) = outcome else {
            self.written += 1;
            return;
        };
        let in_vain = error.is_retriable() || matches!(error, ClientError::Closed);
        self.in_vain |= in_vain;
        if self.failed.is_none() {
            self.failed = Some((line, CliError::from(error).to_string()));
        } else if in_vain {
            self.unknown += 1;
        } else {
            self.refused += 1;
        }
    }

    /// A line that the cluster did not take comes before one that could not be read.
    fn outcome(&self, topic: &str, unread: Option<Unread>) -> Result<(), CliError> {
        let failed = self.failed.clone().map(|(line, why)| Unread { line: Some(line), why });
        let Some(Unread { line, why }) = failed.or(unread) else { return Ok(()) };
        let mut message = are_written(self.written);
        message += &line.map_or_else(|| format!("; {why}"), |line| format!("; line {line}: {why}"));
        for (count, what) in [(self.refused, "not written either"), (self.unknown, "not acknowledged")] {
            if count > 0 {
                message += &format!("; {} behind it {} {what}", counted(count, "line"), is_or_are(count));
            }
        }
        let numbers = [
            ("topic", json!(topic)),
            ("records", self.written.into()),
            ("line", line.into()),
            ("refused", self.refused.into()),
            ("unknown", self.unknown.into()),
        ];
        Err(partly(message, numbers))
    }
}

fn partly<const N: usize>(message: String, numbers: [(&str, Value); N]) -> CliError {
    CliError::Partly { message, numbers: numbers.map(|(name, value)| (name.to_owned(), value)).into_iter().collect() }
}

fn are_written(count: u64) -> String {
    format!("{} {} written", counted(count, "record"), is_or_are(count))
}

fn is_or_are(count: u64) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

fn record_of(line: &mut Vec<u8>, options: &Produce) -> Result<NewRecord, String> {
    if line.len() as u64 > LINE_BYTES_MAX {
        return Err(format!("it is longer than {LINE_BYTES_MAX} bytes"));
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    read_line(line, options)
}

fn read_line(line: &[u8], options: &Produce) -> Result<NewRecord, String> {
    let now = clock::now_ms();
    if options.json {
        let read: RecordLine = serde_json::from_slice(line).map_err(|error| without_its_line(&error))?;
        let mut record = read.record(&options.topic, now, options.keep_partitions)?;
        record.partition = options.partition.map(PartitionIndex).or(record.partition);
        return Ok(record);
    }
    let (key, value) = match &options.key_separator {
        None => (None, line),
        Some(separator) => {
            let at = line.windows(separator.len().max(1)).position(|window| window == separator.as_bytes());
            let at = at.ok_or_else(|| format!("no '{separator}' between key and value"))?;
            (Some(Bytes::copy_from_slice(&line[..at])), &line[at + separator.len()..])
        }
    };
    let header = |(key, value): &(String, String)| Header {
        key: key.clone(),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
    };
    Ok(NewRecord {
        topic: options.topic.clone(),
        partition: options.partition.map(PartitionIndex),
        timestamp: now,
        key,
        value: Some(Bytes::copy_from_slice(value)),
        headers: options.headers.iter().map(header).collect(),
    })
}

/// Each line is read on its own, so the number that JSON's reader gives is always 1.
fn without_its_line(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let said = match said.strip_suffix(&format!(" at line {} column {}", error.line(), error.column())) {
        Some(what) => format!("column {}: {what}", error.column()),
        None => said,
    };
    if error.is_data() { said } else { format!("it is no JSON: {said}") }
}

#[cfg(test)]
mod tests {
    use kennet_client::{ClientError, ErrorCode};
    use serde_json::json;

    use super::{Tally, Unread, without_its_line};
    use crate::record_json::RecordLine;

    fn refused(code: ErrorCode) -> Result<(), ClientError> {
        Err(ClientError::Refused { api: "Produce", object: "partition t-0".to_owned(), code, message: None })
    }

    fn tally(outcomes: Vec<Result<(), ClientError>>) -> Tally {
        let mut tally = Tally::default();
        (1..).zip(outcomes).for_each(|(line, outcome)| tally.count(line, outcome));
        tally
    }

    #[test]
    fn a_line_that_is_no_record_is_told_with_what_was_written_before() {
        let unread = || Some(Unread { line: Some(3), why: "no ':'".to_owned() });
        let error = tally(vec![Ok(()), Ok(())]).outcome("t", unread()).unwrap_err();
        assert_eq!(error.to_string(), "2 records are written; line 3: no ':'");
        let expected = json!({
            "error": error.to_string(), "topic": "t", "records": 2, "line": 3, "refused": 0, "unknown": 0,
        });
        assert_eq!(error.json(), expected);
        let error = tally(vec![Ok(()), refused(ErrorCode::MessageTooLarge)]).outcome("t", unread()).unwrap_err();
        assert!(error.to_string().starts_with("1 record is written; line 2: partition t-0"), "{error}");
        assert!(tally(vec![Ok(())]).outcome("t", None).is_ok());
    }

    #[test]
    fn lines_behind_one_that_is_refused_are_told_as_written_or_not() {
        let too_large = || refused(ErrorCode::MessageTooLarge);
        let tally = tally(vec![Ok(()), too_large(), Ok(()), too_large()]);
        assert!(!tally.in_vain);
        let error = tally.outcome("t", None).unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with("2 records are written; line 2: partition t-0: Produce failed"), "{said}");
        assert!(said.ends_with("; 1 line behind it is not written either"), "{said}");
        assert_eq!((&error.json()["records"], &error.json()["refused"]), (&json!(2), &json!(1)));
    }

    #[test]
    fn nothing_is_awaited_of_a_cluster_that_does_not_answer() {
        for error in [ClientError::Closed, refused(ErrorCode::NotLeaderOrFollower).unwrap_err()] {
            let mut tally = tally(vec![Ok(()), Err(error)]);
            assert!(tally.in_vain);
            tally.unknown = 7;
            let said = tally.outcome("t", None).unwrap_err().to_string();
            assert!(
                said.contains("; line 2: ") && said.ends_with("; 7 lines behind it are not acknowledged"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_line_of_json_has_one_number() {
        let error = serde_json::from_str::<RecordLine>(r#"{"valeu":1}"#).unwrap_err();
        let said = without_its_line(&error);
        assert!(said.starts_with("column 8: unknown field `valeu`") && !said.contains(" at line "), "{said}");
        let error = serde_json::from_str::<RecordLine>("not json").unwrap_err();
        assert!(without_its_line(&error).starts_with("it is no JSON: column 2: "), "{error}");
    }
}
