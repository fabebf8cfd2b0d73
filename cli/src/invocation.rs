//! How the program was called: by which name, with which arguments, and in which format a failure is told.
//!
//! What the arguments mean is `command_line`'s; here they are read, and a mistake in them becomes an exit code.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, FromArgMatches};
use kennet_contract::ExitCode;

use crate::command_line::Arguments;
use crate::error::CliError;
use crate::output::note;

/// Commands that connect to no address that is given, and the arguments that they therefore don't show.
const UNCONNECTED: [&str; 2] = ["dev", "completions"];
const OF_CONNECTIONS: [&str; 2] = ["bootstrap", "timeout"];

/// The command line, as help and completions show it.
pub(crate) fn command() -> Command {
    let command = Arguments::command();
    let hidden = |argument: &&clap::Arg| OF_CONNECTIONS.contains(&argument.get_id().as_str());
    let arguments: Vec<clap::Arg> =
        command.get_arguments().filter(hidden).map(|argument| argument.clone().hide(true)).collect();
    // still taken, because they may stand before every command
    UNCONNECTED.into_iter().fold(command, |command, name| command.mut_subcommand(name, |one| one.args(&arguments)))
}

/// What completions offer: nothing that help hides, which their generator would not pass over.
pub(crate) fn visible() -> Command {
    let all = command();
    let shown = all.get_subcommands().filter(|one| !one.is_hide_set()).cloned();
    Command::new("kennet").version(env!("CARGO_PKG_VERSION")).args(all.get_arguments().cloned()).subcommands(shown)
}

/// The arguments of this process.
pub(crate) fn read() -> Result<Arguments, clap::Error> {
    parse(std::env::args_os().collect())
}

fn parse(words: Vec<OsString>) -> Result<Arguments, clap::Error> {
    let plugin = words
        .first()
        .and_then(|called| std::path::Path::new(called).file_name())
        .is_some_and(|name| name == "kubectl-kennet");
    let name = if plugin { "kubectl kennet" } else { "kennet" };
    let read =
        command().bin_name(name).try_get_matches_from(words).and_then(|found| Arguments::from_arg_matches(&found));
    read.map_err(without_false_tips)
}

/// Clap advises to pass an unknown flag as a value, which no command here takes it for.
fn without_false_tips(mut problem: clap::Error) -> clap::Error {
    if let Some(ContextValue::StyledStrs(mut tips)) = problem.remove(ContextKind::Suggested) {
        tips.retain(|tip| !tip.to_string().contains(" as a value, use "));
        if !tips.is_empty() {
            problem.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
        }
    }
    problem
}

/// Tells of a mistake in the arguments; help and version are none.
pub(crate) fn refuse(problem: &clap::Error) -> ExitCode {
    if !problem.use_stderr() {
        // nobody is left to tell if even this can't be written
        drop(problem.print());
        return ExitCode::Success;
    }
    if wants_json(std::env::args_os()) {
        report(&CliError::Usage(mistake(problem)), true);
    } else {
        drop(problem.print());
    }
    ExitCode::Usage
}

/// Tells of a failure: a sentence for people, one line of JSON for programs.
pub(crate) fn report(error: &CliError, as_json: bool) {
    if as_json {
        note(&error.json().to_string());
    } else {
        note(&format!("kennet: {error}"));
    }
}

/// Whether `--output json` is among arguments that could not be read as a whole.
fn wants_json(words: impl Iterator<Item = OsString>) -> bool {
    let mut before = OsString::new();
    for word in words.take_while(|word| word != "--") {
        if ["--output=json", "-ojson", "-o=json"].iter().any(|one| word == *one) {
            return true;
        }
        if word == "json" && (before == "--output" || before == "-o") {
            return true;
        }
        before = word;
    }
    false
}

/// What clap says, as one sentence without the usage.
fn mistake(problem: &clap::Error) -> String {
    if problem.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "the command is not complete: --help shows how it goes on".to_owned();
    }
    let text = problem.to_string();
    let end = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|mark| text.find(mark)).min();
    let said = end.and_then(|end| text.get(..end)).unwrap_or(&text);
    said.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{command, mistake, parse, visible, wants_json};

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    fn help(of: &str) -> String {
        parse(words(&format!("kennet {of} --help"))).unwrap_err().to_string()
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn what_is_hidden_is_not_shown() {
        assert!(!parse(words("kennet --help")).unwrap_err().to_string().contains("reset-apply"));
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut visible(), "kennet", &mut text);
            let text = String::from_utf8(text).unwrap();
            assert!(!text.contains("reset-apply"), "{shell}");
            assert!(["reset-offsets", "bootstrap", "version"].iter().all(|word| text.contains(word)), "{shell}");
        }
    }

    #[test]
    fn a_reset_without_topics_names_all_ways_to_give_them() {
        let said = |line: &str| parse(words(line)).unwrap_err().to_string();
        let topics = said("kennet groups reset-offsets --group g --to-earliest");
        assert!(topics.contains("--topic") && topics.contains("--all-topics"), "{topics}");
        let groups = said("kennet groups reset-offsets --all-topics --to-earliest");
        assert!(groups.contains("--group") && groups.contains("--all-groups"), "{groups}");
        for line in [
            "--group g --topic t --topic u --to-latest",
            "--all-groups --all-topics --to-latest",
            "--group g --from-file f",
        ] {
            assert!(parse(words(&format!("kennet groups reset-offsets {line}"))).is_ok(), "{line}");
        }
        for line in ["--group g --topic t --all-topics --to-latest", "--group g --topic t --from-file f"] {
            assert!(parse(words(&format!("kennet groups reset-offsets {line}"))).is_err(), "{line}");
        }
    }

    #[test]
    fn help_shows_addresses_where_something_connects() {
        for of in ["dev", "dev up", "dev status", "dev down", "completions"] {
            let shown = help(of);
            assert!(!shown.contains("--bootstrap") && !shown.contains("--timeout"), "{of}: {shown}");
            assert!(shown.contains("--output"), "{of}: {shown}");
        }
        for of in ["topics list", "consume", "groups"] {
            let shown = help(of);
            assert!(shown.contains("--bootstrap") && shown.contains("--timeout"), "{of}: {shown}");
        }
        let read = parse(words("kennet --bootstrap a:1 --timeout 5s dev status")).unwrap();
        assert_eq!(read.connection.bootstrap, "a:1");
        assert_eq!(parse(words("kennet topics list --bootstrap a:2")).unwrap().connection.bootstrap, "a:2");
    }

    #[test]
    fn help_shows_what_is_of_every_command_behind_what_is_the_commands_own() {
        for (of, own) in [("topics create", "--partitions"), ("consume", "--from-beginning"), ("dev up", "--base-port")]
        {
            let shown = help(of);
            let (options, global) = shown.split_once("Global options:").expect(of);
            assert!(options.contains(own) && !options.contains("--output"), "{of}: {shown}");
            assert!(!global.contains(own) && global.contains("--output"), "{of}: {shown}");
        }
    }

    #[test]
    fn an_unknown_flag_is_not_said_to_be_a_value() {
        for line in ["kennet produce t --bogus", "kennet topics describe --bogus", "kennet --bogus"] {
            let said = parse(words(line)).unwrap_err().to_string();
            assert!(said.contains("--bogus") && !said.contains("as a value"), "{said}");
        }
        // a tip that helps stays
        let said = parse(words("kennet consume t --from-begining")).unwrap_err().to_string();
        assert!(said.contains("--from-beginning"), "{said}");
    }

    #[test]
    fn a_mistake_is_one_sentence_for_programs() {
        let said = mistake(&parse(words("kennet topics create t --partitions 0 -o json")).unwrap_err());
        assert!(said.contains("--partitions") && !said.contains("Usage") && !said.contains('\n'), "{said}");
        assert!(!said.starts_with("error:"), "{said}");
        assert!(mistake(&parse(words("kennet topics")).unwrap_err()).contains("--help"));
    }

    #[test]
    fn json_is_wanted_also_where_the_rest_is_wrong() {
        for line in ["kennet -o json x", "kennet x --output json", "kennet x --output=json", "kennet -ojson"] {
            assert!(wants_json(words(line).into_iter()), "{line}");
        }
        for line in ["kennet x", "kennet produce json", "kennet x -- -o json", "kennet x -o human"] {
            assert!(!wants_json(words(line).into_iter()), "{line}");
        }
    }
}
