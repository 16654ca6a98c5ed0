//! `ctnl tune log`.

use anyhow::Result;
use ctnl::host::Host;
use ctnl::text::printable_lines;
use serde_json::{Value, json};

use super::pending::{self, Fate};
use super::report::diff_text;
use super::target::{Opened, Target, TargetArgs};
use crate::term::columns::Columns;
use crate::term::exit::{Exit, usage};
use crate::term::stdout::print;
use crate::tune::{Operation, State, boot_id};

const EXAMPLES: &str = "\
Examples:
  ctnl tune log
  ctnl tune log 7
      One operation, with the lines of the files.
  ctnl tune log --json | jq -r 'select(.state == \"applied\") | .changes[] | \"\\(.setting) \\(.to)\"'

The log is /var/lib/ctnl/tune/operations.jsonl (docs/tune.md).";

/// List the operations
///
/// When, who, what from what to what, and what became of it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Show this operation alone, with the lines of its files
    #[arg(value_name = "OP")]
    op: Option<u64>,

    #[command(flatten)]
    target: TargetArgs,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let Opened { target, log, mut console } = args.target.open(host)?;
    let operations = pending::warn(&target, &log, &mut console, None)?;
    let chosen: Vec<_> =
        operations.iter().filter(|operation| args.op.is_none_or(|op| op == operation.begun.op)).collect();
    if let (Some(op), true) = (args.op, chosen.is_empty()) {
        return Err(usage(format!("there is no operation {op}\n  hint: ctnl tune log")));
    }
    if chosen.is_empty() {
        console.note(&format!("no operations (log: {})", log.path().display()));
    }
    let text: String = match (args.target.json, args.op) {
        (true, _) => chosen.iter().map(|operation| format!("{}\n", json_of(operation, &target))).collect(),
        (false, Some(_)) => chosen.iter().map(|operation| details(operation, &target)).collect(),
        (false, None) => table(&chosen, &target),
    };
    // What others wrote into files, and the names of users.
    print(&*printable_lines(&text))?;
    Ok(Exit::Done)
}

fn state_of(operation: &Operation, target: &Target) -> String {
    let fate = Fate::of(operation, &target.host.clock, boot_id(&target.host).as_deref());
    match (fate, operation.state, operation.reverted_by) {
        (Fate::UndoneByBoot, ..) => "undone by a reboot".to_owned(),
        (Fate::Overdue, ..) => "not confirmed, in force".to_owned(),
        (_, State::Reverted, Some(by)) => format!("reverted by {by}"),
        (_, state, _) => state.name().to_owned(),
    }
}

fn command_of(operation: &Operation) -> String {
    operation.begun.reverts.map_or_else(|| operation.begun.command.clone(), |op| format!("revert {op}"))
}

fn table(operations: &[&Operation], target: &Target) -> String {
    let heads = ["OP", "TIME", "USER", "COMMAND", "STATE", "CHANGES"];
    let mut columns = Columns::new(heads.map(str::to_owned).to_vec(), 1);
    for operation in operations {
        let begun = &operation.begun;
        columns.push(vec![
            begun.op.to_string(),
            begun.time.clone(),
            begun.user.clone(),
            command_of(operation),
            state_of(operation, target),
            operation.describe_changes(),
        ]);
    }
    if operations.is_empty() { String::new() } else { columns.to_text() }
}

fn details(operation: &Operation, target: &Target) -> String {
    let begun = &operation.begun;
    let mut text = format!(
        "operation {}: {} at {} by {}: {}\n",
        begun.op,
        command_of(operation),
        begun.time,
        begun.user,
        state_of(operation, target)
    );
    if let Some(netns) = &begun.netns {
        text.push_str(&format!("network namespace: {netns}\n"));
    }
    if let Some(why) = &operation.why {
        text.push_str(&format!("rolled back: {why}\n"));
    }
    for (name, wanted) in &operation.not_undone {
        text.push_str(&format!("not rolled back: {name} (was {wanted})\n"));
    }
    text.push_str(&diff_text(&begun.changes));
    if !begun.changes_on_confirm.is_empty() {
        text.push_str("when confirmed:\n");
        text.push_str(&diff_text(&begun.changes_on_confirm));
    }
    for line in operation.describe_existing() {
        text.push_str(&format!("{line}\n"));
    }
    text
}

fn json_of(operation: &Operation, target: &Target) -> Value {
    let mut value = serde_json::to_value(&operation.begun).unwrap_or_default();
    let more = json!({
        "state": operation.state.key(),
        "why": operation.why,
        "not_undone": operation.not_undone.iter().map(|(name, wanted)| json!({"name": name, "wanted": wanted})).collect::<Vec<_>>(),
        "reverted_by": operation.reverted_by,
        "lowered": (!operation.lowered.is_empty()).then_some(&operation.lowered),
        "pending": state_of(operation, target),
    });
    if let (Value::Object(members), Value::Object(more)) = (&mut value, more) {
        let pending = operation.state.is_pending();
        members.extend(more.into_iter().filter(|(key, value)| !value.is_null() && (key != "pending" || pending)));
    }
    value
}
