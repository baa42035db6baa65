//! The table of a transform: its calls run on the caller's thread.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::{Batch, Component, Done, Str, TransformVtable, data, wire};
use super::answer::{Answer, Completion, panic_failure};
use super::{create as create_instance, open_batch, records, with_needs};
use crate::error::{Rejection, Result};
use crate::transform::{Meta, Transform, Transformed};

pub(in crate::abi) static VTABLE: TransformVtable = TransformVtable {
    size: size_of::<TransformVtable>(),
    create: Some(create),
    apply: Some(apply),
    drop: Some(drop_instance),
};

struct Instance {
    transform: Arc<dyn Transform>,
    poisoned: AtomicBool,
}

unsafe extern "C" fn create(component: *const Component, config: Str, task: Str, done: Done) {
    let make = |exported: &'static super::Exported, config: &_, task: &_| {
        let transform = exported.component.create_transform(config, task)?;
        let declared = wire::Declared {
            deterministic: Some(transform.deterministic()),
            filters: Some(transform.filters()),
            ..wire::Declared::default()
        };
        let answer = with_needs(Answer::done(), declared, &transform.needs());
        Ok(answer.instance(Instance { transform, poisoned: AtomicBool::new(false) }))
    };
    unsafe { create_instance(component, config, task, done, make) }
}

unsafe extern "C" fn apply(transform: *mut c_void, partition: Str, batch: *mut Batch, done: Done) {
    let arguments = unsafe { records(partition, batch) };
    let Instance { transform, poisoned } = unsafe { &*transform.cast::<Instance>() };
    let completion = Completion::new(done);
    if poisoned.load(Ordering::Acquire) {
        return completion.answer(Answer::poisoned());
    }
    let work = || -> Result<Answer> {
        let (partition, batch) = arguments?;
        let Transformed { runs, rejected } = transform.apply(open_batch(batch)?, &Meta { partition })?;
        let batches = runs.iter().map(|run| data::export(&run.records)).collect::<Result<_>>()?;
        let answer = wire::ApplyAnswer {
            runs: runs.iter().map(wire::Destination::from).collect(),
            rejected: rejected.into_iter().map(|rejection: Rejection| rejection.into()).collect(),
        };
        Ok(Answer::done().value(&answer).batches(batches))
    };
    completion.answer(match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Answer::failed(error),
        Err(payload) => {
            poisoned.store(true, Ordering::Release);
            Answer::panicked(panic_failure(payload))
        }
    });
}

unsafe extern "C" fn drop_instance(transform: *mut c_void) {
    let transform = unsafe { Box::from_raw(transform.cast::<Instance>()) };
    super::quietly(|| drop(transform));
}
