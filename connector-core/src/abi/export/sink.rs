//! The table of a sink.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::super::{Batch, Component, Done, SinkVtable, Str, wire};
use super::actor::{Actor, Lane};
use super::answer::Answer;
use super::{argument, create as create_instance, open_batch, records, with_needs};
use crate::batch::{Assignment, Offset, TopicPartition};
use crate::error::ConnectError;
use crate::sink::{Committable, FlushRange, Sink};

pub(in crate::abi) static VTABLE: SinkVtable = SinkVtable {
    size: size_of::<SinkVtable>(),
    create: Some(create),
    open: Some(open),
    write: Some(write),
    flush: Some(flush),
    commit: Some(commit),
    close: Some(close),
    drop: Some(drop_instance),
    forget: Some(forget),
    metrics: Some(metrics),
    inventory: Some(inventory),
};

struct Instance {
    actor: Actor<dyn Sink>,
    staged: Arc<Staged>,
}

/// What was flushed, by the numbers that the host knows.
#[derive(Default)]
struct Staged {
    next: AtomicU64,
    tokens: Mutex<HashMap<u64, Arc<Committable>>>,
}

impl Staged {
    fn keep(&self, token: Committable) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::new(token));
        number
    }

    fn get(&self, number: u64) -> Option<Arc<Committable>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    fn forget(&self, number: u64) -> Option<Arc<Committable>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(&number)
    }
}

unsafe fn instance<'a>(instance: *mut c_void) -> &'a Instance {
    unsafe { &*instance.cast::<Instance>() }
}

unsafe extern "C" fn create(component: *const Component, config: Str, task: Str, done: Done) {
    let make = |exported: &'static super::Exported, config: &_, task: &_| {
        let sink = exported.component.create_sink(config, task)?;
        let declared = wire::Declared {
            delivery: Some(sink.delivery()),
            schedule: sink.schedule(),
            open_limits: sink.open_limits(),
            ..wire::Declared::default()
        };
        let answer = with_needs(Answer::done(), declared, &sink.needs());
        Ok(answer.instance(Instance { actor: Actor::new(sink, exported), staged: Arc::default() }))
    };
    unsafe { create_instance(component, config, task, done, make) }
}

unsafe extern "C" fn open(sink: *mut c_void, partitions: Str, done: Done) {
    let partitions = argument::<Vec<Assignment>>(partitions);
    unsafe { instance(sink) }.actor.call(Lane::Data, done, |sink| async move {
        let resume: Vec<(TopicPartition, Offset)> = sink.open(&partitions?).await?.into_iter().collect();
        Ok(Answer::done().value(&resume))
    });
}

unsafe extern "C" fn write(sink: *mut c_void, partition: Str, batch: *mut Batch, done: Done) {
    let arguments = unsafe { records(partition, batch) };
    unsafe { instance(sink) }.actor.call(Lane::Data, done, |sink| async move {
        let (partition, batch) = arguments?;
        let written = sink.write(crate::Batch::new(partition, open_batch(batch)?)).await?;
        Ok(Answer::done().value(&wire::WriteAnswer::from(written)))
    });
}

unsafe extern "C" fn flush(sink: *mut c_void, ranges: Str, done: Done) {
    let ranges = argument::<Vec<FlushRange>>(ranges);
    let Instance { actor, staged } = unsafe { instance(sink) };
    let staged = staged.clone();
    actor.call(Lane::Publish, done, |sink| async move {
        let token = sink.flush(&ranges?).await?;
        Ok(Answer::done().value(&staged.keep(token)))
    });
}

unsafe extern "C" fn commit(sink: *mut c_void, number: u64, done: Done) {
    let Instance { actor, staged } = unsafe { instance(sink) };
    let token = staged.get(number).ok_or_else(|| {
        ConnectError::internal("plugin.argument", format!("nothing is staged under the number {number}"))
    });
    actor.call(Lane::Publish, done, |sink| async move {
        sink.commit(&*token?).await?;
        Ok(Answer::done())
    });
}

unsafe extern "C" fn close(sink: *mut c_void, revoked: Str, done: Done) {
    let revoked = argument::<Vec<TopicPartition>>(revoked);
    unsafe { instance(sink) }.actor.interrupt(done, |sink| async move {
        sink.close(&revoked?).await?;
        Ok(Answer::done())
    });
}

unsafe extern "C" fn forget(sink: *mut c_void, number: u64) {
    let staged = &unsafe { instance(sink) }.staged;
    super::quietly(|| drop(staged.forget(number)));
}

unsafe extern "C" fn metrics(sink: *mut c_void, done: Done) {
    unsafe { instance(sink) }.actor.ask(done, |sink| Answer::done().value(&sink.metrics()));
}

unsafe extern "C" fn inventory(sink: *mut c_void, topics: Str, done: Done) {
    let topics = argument::<Vec<Arc<str>>>(topics);
    unsafe { instance(sink) }.actor.call(Lane::Data, done, |sink| async move {
        Ok(Answer::done().value(&sink.inventory(&topics?).await?))
    });
}

unsafe extern "C" fn drop_instance(sink: *mut c_void) {
    let sink = unsafe { Box::from_raw(sink.cast::<Instance>()) };
    super::quietly(|| drop(sink));
}
