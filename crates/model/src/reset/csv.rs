//! Plans as the lines that `kafka-consumer-groups --export` writes and `--from-file` reads.
//!
//! A line is `topic,partition,offset`, or with the group before it; the first line decides for the whole file. Fields with a comma or a
//! quote are quoted, quotes doubled.

use std::collections::BTreeMap;

use crate::admin::Partition;
use crate::reset::Plan;

/// Why a file can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is '{text}': expected topic,partition,offset or group,topic,partition,offset")]
pub struct CsvError {
    /// Counted from 1.
    pub line: usize,
    /// The line.
    pub text: String,
}

/// Offsets by group; a file without groups has one entry without a name.
pub type Offsets = BTreeMap<Option<String>, BTreeMap<Partition, i64>>;

/// Writes plans; with the group in each line when there are several.
#[must_use]
pub fn write(plans: &[Plan]) -> String {
    let mut text = String::new();
    for plan in plans {
        for one in &plan.moves {
            if plans.len() > 1 {
                text.push_str(&quoted(&plan.group));
                text.push(',');
            }
            text.push_str(&format!("{},{},{}\n", quoted(&one.topic), one.partition, one.target));
        }
    }
    text
}

/// Reads a file.
///
/// # Errors
/// The first line that makes no sense.
pub fn read(text: &str) -> Result<Offsets, CsvError> {
    let mut offsets = Offsets::new();
    let mut width = None;
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let wrong = || CsvError { line: at + 1, text: line.to_owned() };
        let fields = fields(line).ok_or_else(wrong)?;
        let expected = *width.get_or_insert(fields.len());
        let (group, rest) = match (expected, fields.as_slice()) {
            (3, rest @ [_, _, _]) => (None, rest),
            (4, [group, rest @ ..]) if rest.len() == 3 => (Some(group.clone()), rest),
            _ => return Err(wrong()),
        };
        let partition: i32 = rest[1].trim().parse().map_err(|_| wrong())?;
        let offset: i64 = rest[2].trim().parse().map_err(|_| wrong())?;
        offsets.entry(group).or_default().insert(Partition::new(&rest[0], partition), offset);
    }
    Ok(offsets)
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', ' ']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

/// The fields of a line; none when a quote is not closed.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut inside = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let field = fields.last_mut()?;
        match letter {
            '"' if inside && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' => inside = !inside,
            ',' if !inside => fields.push(String::new()),
            other => field.push(other),
        }
    }
    (!inside).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::GroupState;
    use crate::reset::Move;

    fn plan(group: &str) -> Plan {
        let one = Move { topic: "t".into(), partition: 3, current: None, target: 7, start: 0, end: 9 };
        Plan { group: group.into(), state: GroupState::Empty, moves: vec![one], notes: Vec::new() }
    }

    #[test]
    fn one_plan_is_written_as_kafka_does() {
        assert_eq!(write(&[plan("g")]), "t,3,7\n");
    }

    #[test]
    fn several_plans_come_back() {
        let text = write(&[plan("a, \"b\""), plan("c")]);
        let offsets: BTreeMap<Partition, i64> = [(Partition::new("t", 3), 7)].into();
        let expected = [(Some("a, \"b\"".to_owned()), offsets.clone()), (Some("c".to_owned()), offsets)];
        assert_eq!(read(&text), Ok(expected.into()));
    }

    #[test]
    fn a_line_without_sense_is_named() {
        assert_eq!(read("t,0,1\nt,x,2").unwrap_err().line, 2);
        assert_eq!(read("t,0,1\ng,t,0,2").unwrap_err().line, 2);
        assert!(read("\"t,0,1").is_err());
    }
}
