//! Calls that go wrong on the plugin's side.

use std::ffi::c_void;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::super::export::{self, About, SINK};
use super::super::import::{Options, abandoned_total, host, library};
use super::super::{
    Batch as AbiBatch, Done, MAGIC, Outcome, PANIC_UNWIND, Plugin as Table, SinkVtable, Status, Str,
};
use crate::envelope::Form;
use crate::{
    Assignment, Batch, Committable, Component, ConfigProblem, ConnectError, Delivery, Domain, FlushRange,
    Metric, Needs, Plugin, Result, Resume, Retry, Sink, TaskInfo, TopicPartition, Written,
};

#[derive(Deserialize, JsonSchema)]
struct Config {
    /// The entry that fails.
    fails: String,
}

struct Faulty(String);

impl Plugin for Faulty {
    type Config = Config;
    const NAME: &'static str = "faulty";
    const ALIASES: &'static [&'static str] = &["com.example.Faulty"];
    const SUMMARY: &'static str = "Fails where it is told to.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        match config.fails.as_str() {
            "create" => panic!("in create"),
            "refuse" => Err(vec![ConfigProblem::new("fails", "is not allowed", "write something else")]),
            _ => Ok(Self(config.fails)),
        }
    }
}

#[async_trait]
impl Sink for Faulty {
    fn needs(&self) -> Needs {
        Needs::Bytes
    }

    fn delivery(&self) -> Delivery {
        Delivery::StableRange
    }

    fn metrics(&self) -> Vec<Metric> {
        if self.0 == "metrics" {
            panic!("in metrics");
        }
        vec![Metric::gauge("faulty_depth", "How deep.", 3.5).label("shard", "s-1")]
    }

    async fn open(&self, _: &[Assignment]) -> Result<Resume> {
        let secret = "hunter2";
        match self.0.as_str() {
            "open" => panic!("in open"),
            "formatted" => panic!("the value {secret} is bad"),
            "error" => Err(ConnectError::external("faulty.down", "the service is down")
                .hint("start it")
                .caused_by(std::io::Error::other("refused"))),
            _ => Ok(Resume::new()),
        }
    }

    async fn write(&self, _: Batch) -> Result<Written> {
        if self.0 == "forever" {
            std::future::pending::<()>().await;
        }
        Ok(Written::default())
    }

    async fn flush(&self, _: &[FlushRange]) -> Result<Committable> {
        Ok(Committable::new(()))
    }

    async fn commit(&self, _: &Committable) -> Result<()> {
        Ok(())
    }

    async fn close(&self, _: &[TopicPartition]) -> Result<()> {
        Ok(())
    }
}

/// The component as the host sees it, after a change to the plugin's table.
fn import(change: impl FnOnce(&mut Table, &mut SinkVtable), timeout_ms: u64) -> Result<Component> {
    let about = About { name: "faults", version: "1", unwinds: true };
    let mut table = *export::table(*host(), about, vec![Component::sink::<Faulty>("1")]);
    let vtable = Box::leak(Box::new(SINK));
    change(&mut table, vtable);
    let mut component = unsafe { **table.components };
    component.vtable = (&raw const *vtable).cast();
    let components = Box::leak(Box::new([&raw const *Box::leak(Box::new(component))]));
    table.components = components.as_ptr();
    let mut options = Options::new("libfaults.so");
    options.timeout = Duration::from_millis(timeout_ms);
    let mut library = unsafe { library(Box::leak(Box::new(table)), &options) }?;
    Ok(library.components.remove(0))
}

fn sink(component: &Component, fails: &str) -> std::sync::Arc<dyn Sink> {
    component.create_sink(&json!({"fails": fails}), &TaskInfo::default()).unwrap()
}

fn batch() -> Batch {
    let partition = TopicPartition::new("t", 0);
    Batch::new(partition.clone(), crate::testing::records(Form::Bytes, &partition, 0..3))
}

#[tokio::test]
async fn a_panic_names_plugin_and_call_and_poisons_the_instance_alone() {
    let component = import(|_, _| {}, 5000).unwrap();
    let faulty = sink(&component, "open");
    let error = faulty.open(&[]).await.unwrap_err();
    assert_eq!(error.code, "plugin.panicked");
    assert!(error.message.starts_with("plugin `faulty` (libfaults.so): in `open` it panicked"), "{error}");
    assert!(error.message.contains("in open"), "{error}");
    let later = faulty.write(batch()).await.unwrap_err();
    assert_eq!(later.code, "plugin.poisoned");
    assert!(later.message.contains("in `open` it panicked"), "{later}");
    sink(&component, "").open(&[]).await.unwrap();
}

#[tokio::test]
async fn a_formatted_panic_message_is_withheld_because_it_may_hold_data() {
    let error = sink(&import(|_, _| {}, 5000).unwrap(), "formatted").open(&[]).await.unwrap_err();
    assert!(error.message.contains("panicked") && !error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn an_error_keeps_its_parts() {
    let error = sink(&import(|_, _| {}, 5000).unwrap(), "error").open(&[]).await.unwrap_err();
    assert_eq!(
        (error.domain, error.retry, &*error.code),
        (Domain::External, Retry::WithBackoff, "faulty.down")
    );
    assert_eq!((&*error.message, &*error.hint), ("the service is down: refused", "start it"));
}

#[test]
fn create_reports_problems_and_panics() {
    let component = import(|_, _| {}, 5000).unwrap();
    let create =
        |fails: &str| component.create_sink(&json!({"fails": fails}), &TaskInfo::default()).err().unwrap();
    assert_eq!(create("refuse"), [ConfigProblem::new("fails", "is not allowed", "write something else")]);
    assert!(create("create")[0].message.contains("in `create` it panicked"));
    assert_eq!(component.aliases, ["com.example.Faulty"]);
}

#[tokio::test]
async fn an_answer_that_does_not_come_abandons_the_instance() {
    let component = import(|_, _| {}, 50).unwrap();
    let faulty = sink(&component, "forever");
    let before = abandoned_total();
    let error = faulty.write(batch()).await.unwrap_err();
    assert_eq!(error.code, "plugin.timeout");
    assert!(error.message.contains("in `write` it did not answer within 50 ms"), "{error}");
    assert!(abandoned_total() > before);
    assert_eq!(faulty.open(&[]).await.unwrap_err().code, "plugin.abandoned");
}

#[tokio::test]
async fn close_interrupts_a_call_that_no_one_waits_for() {
    let component = import(|_, _| {}, 5000).unwrap();
    let faulty = sink(&component, "forever");
    let mut write = faulty.write(batch());
    assert!(futures::poll!(write.as_mut()).is_pending());
    drop(write);
    faulty.close(&[]).await.unwrap();
    faulty.open(&[]).await.unwrap();
}

fn answer(done: Done, status: u32, value: &'static str) {
    let mut outcome = Outcome {
        size: size_of::<Outcome>(),
        status,
        reserved: 0,
        instance: std::ptr::null_mut(),
        value: Str::new(value),
        batches: std::ptr::null_mut(),
        batches_len: 0,
    };
    unsafe { (done.call)(done.ctx, &raw mut outcome) };
}

unsafe extern "C" fn twice(_: *mut c_void, _: Str, _: *mut AbiBatch, done: Done) {
    answer(done, Status::Ok as u32, "{}");
    answer(done, Status::Ok as u32, "{}");
    answer(Done { ctx: usize::MAX as *mut c_void, ..done }, Status::Ok as u32, "{}");
}

#[tokio::test]
async fn a_second_answer_and_an_invented_ticket_are_ignored() {
    let component = import(|_, sinks| sinks.write = Some(twice), 5000).unwrap();
    let faulty = sink(&component, "");
    for _ in 0..2 {
        faulty.write(batch()).await.unwrap();
    }
}

unsafe extern "C" fn nonsense(_: *mut c_void, _: Str, done: Done) {
    answer(done, Status::Ok as u32, "{\"broken\":");
}

unsafe extern "C" fn unknown_status(_: *mut c_void, _: Str, done: Done) {
    answer(done, 77, "");
}

unsafe extern "C" fn too_many_rows(_: *mut c_void, _: Str, _: *mut AbiBatch, done: Done) {
    answer(done, Status::Ok as u32, "{\"filtered\":4}");
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_a_misdeed() {
    let component = import(|_, sinks| sinks.open = Some(nonsense), 5000).unwrap();
    let error = sink(&component, "").open(&[]).await.unwrap_err();
    assert!(
        error.code == "plugin.misdeed" && error.message.contains("in `open` it gave an answer that"),
        "{error}"
    );

    let component = import(|_, sinks| sinks.flush = Some(unknown_status), 5000).unwrap();
    let error = sink(&component, "").flush(&[]).await.unwrap_err();
    assert!(error.message.contains("status 77 is unknown"), "{error}");

    let component = import(|_, sinks| sinks.write = Some(too_many_rows), 5000).unwrap();
    let error = sink(&component, "").write(batch()).await.unwrap_err();
    assert!(error.message.contains("not among the 3"), "{error}");
}

#[test]
fn a_library_that_cannot_be_used_is_refused_with_the_reason() {
    let refused = |change: fn(&mut Table, &mut SinkVtable)| import(change, 5000).unwrap_err().to_string();
    assert!(refused(|table, _| table.magic = MAGIC + 1).contains("magic number"));
    assert!(refused(|table, _| table.build_flags &= !PANIC_UNWIND).contains("panic = \"abort\""));
    assert!(refused(|table, _| table.size = 12).contains("`Plugin` claims an impossible size of 12"));
    assert!(refused(|_, sinks| sinks.write = None).contains("its table lacks `write`"));
    let short = |_: &mut Table, sinks: &mut SinkVtable| sinks.size = std::mem::offset_of!(SinkVtable, flush);
    assert!(refused(short).contains("its table lacks `flush`"));
}

#[tokio::test]
async fn optional_entries_may_be_absent() {
    let component = import(|_, sinks| sinks.size = std::mem::offset_of!(SinkVtable, commit), 5000).unwrap();
    let faulty = sink(&component, "");
    faulty.open(&[]).await.unwrap();
    let staged = faulty.flush(&[]).await.unwrap();
    faulty.commit(&staged).await.unwrap();
    faulty.close(&[]).await.unwrap();
}

#[tokio::test]
async fn what_an_instance_counts_crosses_the_boundary_and_its_panic_does_not() {
    let component = import(|_, _| {}, 5000).unwrap();
    let told = sink(&component, "").metrics();
    assert_eq!(told, [Metric::gauge("faulty_depth", "How deep.", 3.5).label("shard", "s-1")]);
    assert_eq!(sink(&component, "metrics").metrics(), []);
}
