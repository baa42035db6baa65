//! The table of a source.

use std::ffi::c_void;
use std::sync::Arc;

use super::super::{Component, Done, Host, Outcome, SourceVtable, Str, data, wire};
use super::actor::{Actor, Lane};
use super::answer::Answer;
use super::{argument, create as create_instance};
use crate::error::Result;
use crate::source::{Acks, PollBudget, Source, SourceContext, SourceOffset, TopicDirectory};

pub(in crate::abi) static VTABLE: SourceVtable = SourceVtable {
    size: size_of::<SourceVtable>(),
    create: Some(create),
    open: Some(open),
    poll: Some(poll),
    commit: Some(commit),
    close: Some(close),
    drop: Some(drop_instance),
    plan: Some(plan),
    metrics: Some(metrics),
};

struct Instance {
    actor: Actor<dyn Source>,
    host: Host,
}

unsafe fn instance<'a>(instance: *mut c_void) -> &'a Instance {
    unsafe { &*instance.cast::<Instance>() }
}

unsafe extern "C" fn create(component: *const Component, config: Str, task: Str, done: Done) {
    let make = |exported: &'static super::Exported, config: &_, task: &_| {
        let source = exported.component.create_source(config, task)?;
        let declared = wire::Declared {
            wants_acks: source.wants_acks(),
            bounded: source.bounded(),
            exactly_once: source.exactly_once(),
            ..wire::Declared::default()
        };
        let instance = Instance { actor: Actor::new(source, exported), host: exported.host };
        Ok(Answer::done().value(&declared).instance(instance))
    };
    unsafe { create_instance(component, config, task, done, make) }
}

unsafe extern "C" fn plan(source: *mut c_void, max_tasks: u64, done: Done) {
    unsafe { instance(source) }.actor.call(Lane::Data, done, move |source| async move {
        let max_tasks = usize::try_from(max_tasks).unwrap_or(usize::MAX);
        Ok(Answer::done().value(&source.plan(max_tasks).await?))
    });
}

unsafe extern "C" fn open(source: *mut c_void, context: Str, done: Done) {
    let context = argument::<wire::OpenSource>(context);
    let Instance { actor, host } = unsafe { instance(source) };
    let host = *host;
    actor.call(Lane::Data, done, move |source| async move {
        let wire::OpenSource { task, positions, directory } = context?;
        let topics = Arc::new(Directory { host, number: directory });
        source.open(SourceContext { task, positions, topics }).await?;
        Ok(Answer::done())
    });
}

unsafe extern "C" fn poll(source: *mut c_void, max_records: u64, max_bytes: u64, done: Done) {
    let fit = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let budget = PollBudget { max_records: fit(max_records), max_bytes: fit(max_bytes) };
    unsafe { instance(source) }.actor.call(Lane::Data, done, move |source| async move {
        let Some(batch) = source.poll(budget).await? else { return Ok(Answer::done()) };
        let batches = batch.runs.iter().map(|run| data::export(&run.records)).collect::<Result<_>>()?;
        let runs = batch.runs.iter().map(wire::Destination::from).collect();
        let polled = wire::PollAnswer {
            runs,
            rejected: batch.rejected.into_iter().map(Into::into).collect(),
            offset: batch.offset,
        };
        Ok(Answer::done().value(&polled).batches(batches))
    });
}

unsafe extern "C" fn commit(source: *mut c_void, offset: Str, acks: Str, done: Done) {
    let arguments = argument::<SourceOffset>(offset).and_then(|o| Ok((o, argument::<Acks>(acks)?)));
    unsafe { instance(source) }.actor.call(Lane::Publish, done, |source| async move {
        let (offset, acks) = arguments?;
        source.commit(&offset, &acks).await?;
        Ok(Answer::done())
    });
}

unsafe extern "C" fn close(source: *mut c_void, done: Done) {
    unsafe { instance(source) }.actor.interrupt(done, |source| async move {
        source.close().await?;
        Ok(Answer::done())
    });
}

unsafe extern "C" fn metrics(source: *mut c_void, done: Done) {
    unsafe { instance(source) }.actor.ask(done, |source| Answer::done().value(&source.metrics()));
}

unsafe extern "C" fn drop_instance(source: *mut c_void) {
    let source = unsafe { Box::from_raw(source.cast::<Instance>()) };
    super::quietly(|| drop(source));
}

/// The host's topics; as good as none when the host does not offer them.
struct Directory {
    host: Host,
    number: u64,
}

impl TopicDirectory for Directory {
    fn partitions(&self, topic: &str) -> Option<u32> {
        let ask = self.host.topic_partitions?;
        u32::try_from(unsafe { ask(self.number, Str::new(topic)) }).ok()
    }

    fn names(&self) -> Vec<String> {
        unsafe extern "C" fn receive(ctx: *mut c_void, outcome: *mut Outcome) {
            let names = unsafe { &mut *ctx.cast::<Vec<String>>() };
            if let Ok(outcome) = unsafe { super::super::read(outcome) } {
                *names = argument(outcome.value).unwrap_or_default();
            }
        }
        let mut names = Vec::<String>::new();
        if let Some(ask) = self.host.topic_names {
            // The host answers before it returns, so `names` is still there.
            unsafe { ask(self.number, Done { ctx: (&raw mut names).cast(), call: receive }) };
        }
        names
    }
}
