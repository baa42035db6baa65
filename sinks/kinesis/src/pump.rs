//! Sends what the queue gives, several requests at a time, until something fails for good.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use connector_aws::kinesis::Trouble;
use connector_core::{ConnectError, Result};
use tokio::task::JoinSet;

use crate::queue::{Outcome, Unit};
use crate::shard::Shard;
use crate::state::Shared;
use crate::stream::Stream;

/// After a split or merge records go on arriving in new shards while the list is asked for.
const BETWEEN_LISTS: Duration = Duration::from_secs(5);

/// What a call that was under way brings.
enum Done {
    Put(Vec<Unit>, Result<PutRecordsOutput>),
    Listed(Result<Vec<Shard>>),
}

/// Runs until it is aborted or a failure is final.
pub async fn run(stream: Stream, shared: Arc<Shared>, max_requests: usize) {
    let mut calls = JoinSet::new();
    let mut list_at = Instant::now();
    loop {
        let wake_at = loop {
            let mut state = shared.lock();
            if state.is_fatal() {
                return;
            }
            let now = Instant::now();
            if list_at <= now && state.queue.shards_changed() {
                list_at = now + BETWEEN_LISTS;
                let stream = stream.clone();
                calls.spawn(async move { Done::Listed(stream.shards().await) });
            }
            if state.in_flight >= max_requests {
                break None;
            }
            let Some(units) = state.queue.take(now) else { break state.queue.wake_at(now) };
            state.in_flight += 1;
            state.requests += 1;
            let stream = stream.clone();
            calls.spawn(async move {
                let answer = stream.put(&units).await;
                Done::Put(units, answer)
            });
        };
        let sleep = tokio::time::sleep_until(wake_at.unwrap_or_else(Instant::now).into());
        tokio::select! {
            Some(done) = calls.join_next(), if !calls.is_empty() => {
                match done {
                    Ok(done) => settle(&shared, &stream, done),
                    // A panic in the client: its records are lost to this instance.
                    Err(error) => {
                        let message = format!("{}: a call ended in a panic", stream.place());
                        shared.lock().failed(ConnectError::internal("kinesis.panic", message).caused_by(error));
                    }
                }
                shared.settled();
            }
            () = shared.pushed.notified() => {}
            () = sleep, if wake_at.is_some() => {}
        }
    }
}

fn settle(shared: &Shared, stream: &Stream, done: Done) {
    let mut state = shared.lock();
    let now = Instant::now();
    let (units, answer) = match done {
        Done::Put(units, answer) => (units, answer),
        Done::Listed(Ok(shards)) => {
            tracing::info!("{}: {} open shards now", stream.place(), shards.len());
            return state.queue.replace_shards(shards);
        }
        // Records find their shards without the list; only pauses are for others than those that ask for them.
        Done::Listed(Err(error)) => return tracing::warn!("{error}"),
    };
    state.in_flight -= 1;
    let results = match answer {
        Ok(answer) => answer.records,
        Err(error) => {
            state.queue.call_failed(units, now);
            return state.failed(error);
        }
    };
    if results.len() != units.len() {
        let message = format!("{}: {} results for {} records", stream.place(), results.len(), units.len());
        state.queue.call_failed(units, now);
        return state
            .failed(ConnectError::external("kinesis.no_answer", message).hint("check `kinesis.endpoint`"));
    }
    let mut outcomes = Vec::with_capacity(units.len());
    let mut failure = None;
    for (unit, result) in units.into_iter().zip(results) {
        let outcome = match result.error_code {
            None => Outcome::Stored(result.shard_id.unwrap_or_default()),
            Some(code) => {
                let trouble = Trouble::of(&code);
                failure = Some((trouble, code));
                Outcome::Failed(trouble)
            }
        };
        outcomes.push((unit, outcome));
    }
    if outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Stored(_))) {
        state.stored_something();
    }
    if let Some((trouble, code)) = failure {
        let place = format!("putting records into {}", stream.place());
        state.failed(trouble.error(&place, &code));
    }
    state.queue.answered(outcomes, now);
}
