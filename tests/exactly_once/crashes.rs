//! The worker ends without any clean-up at each step of writing.

use std::collections::BTreeSet;

use super::*;

/// Ends the worker when each of `steps` is reached, after it was passed `passes` times, and starts it again. What is in the
/// topic then.
fn crash_at(steps: &[&str], passes: u32, table: &mut Table, support: &str) -> Vec<i64> {
    let yaml = table.yaml(support, "");
    table.insert(200);
    let mut worker = None;
    for step in steps {
        let failpoints = format!("{step}={passes}*off->return");
        let env = [("FAILPOINTS", failpoints.as_str())];
        let mut dying = match worker.take() {
            None => Sidestream::spawn(&[("a.yaml", &yaml)], &env),
            Some(dead) => Sidestream::respawn(dead, &env),
        };
        // Batches may be acknowledged all at once: more of them come until the step was passed often enough.
        let ended = wait_until(SOON, &format!("the worker ends at {step}"), || {
            let ended = dying.ended();
            if ended.is_none() {
                table.insert(5);
            }
            ended
        });
        assert_eq!(
            ended.code(),
            None,
            "{step}: it was to be aborted, but ended with {ended}\n{}",
            dying.log()
        );
        table.insert(100);
        worker = Some(dying);
    }
    let mut worker = worker.unwrap().restart(&[]);
    let written = table.wait_written();
    stop(&mut worker);
    assert_eq!(table.written(), written, "the stop has written more");
    written
}

#[test]
fn a_source_that_is_killed_at_any_step_of_a_transaction_neither_loses_nor_doubles_a_row_d_08() {
    let steps = [
        "source.polled",
        "source.transaction_begun",
        "source.sent",
        "source.offsets_sent",
        "source.delivered",
        "source.transaction_committed",
        "source.acknowledged",
    ];
    let mut table = Table::new("eos-kill");
    let written = crash_at(&steps, 3, &mut table, "enabled");
    assert_eq!(written, table.all(), "each row once, in order");
}

#[test]
fn without_transactions_a_source_that_is_killed_at_any_step_loses_no_row_d_07() {
    let steps = ["source.polled", "source.sent", "source.delivered", "source.stored", "source.acknowledged"];
    let mut table = Table::new("alo-kill");
    // Many batches are acknowledged at once, so the later steps are not passed often.
    let written = crash_at(&steps, 1, &mut table, "disabled");
    let distinct: BTreeSet<_> = written.iter().copied().collect();
    assert_eq!(distinct.into_iter().collect::<Vec<_>>(), table.all());
    // First copies are in order: a position is never stored before what it covers is there.
    let mut highest = 0;
    for id in &written {
        assert!(*id <= highest + 1, "row {id} came before {}", highest + 1);
        highest = highest.max(*id);
    }
    println!("{} rows, {} records twice, none lost", table.rows, written.len() as i64 - table.rows);
}
