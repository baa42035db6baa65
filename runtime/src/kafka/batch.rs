//! Many messages at a time from librdkafka's queue into Arrow arrays.
//!
//! `poll()` per message costs half of the rate, so this file calls `rd_kafka_consume_batch_queue`. It is one of the
//! three places with `unsafe`; each pointer is used only while librdkafka guarantees it.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int64Array, Int64Builder, ListBuilder, RecordBatch, StringBuilder,
    StructBuilder, TimestampMillisecondArray, TimestampMillisecondBuilder,
};
use arrow::datatypes::{DataType, Fields};
use connector_core::envelope::{EnvelopeBuilder, Form, headers_type};
use connector_core::{Result, TopicPartition};
use rdkafka::bindings as native;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

/// One queue for the messages of all partitions of a consumer; events stay on the consumer's own queue.
pub struct MessageQueue<C: ConsumerContext + 'static> {
    queue: NonNull<native::rd_kafka_queue_t>,
    messages: Vec<*mut native::rd_kafka_message_t>,
    topics: HashMap<usize, Arc<str>>,
    /// librdkafka's queue must go before its client.
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues may be used from any thread; `messages` is empty between calls.
unsafe impl<C: ConsumerContext + 'static> Send for MessageQueue<C> {}

/// What came from one partition, in offset order.
pub struct Fetched {
    pub partition: TopicPartition,
    pub records: RecordBatch,
    pub last_offset: i64,
    /// Offset after the last record of the partition, as the broker last said; negative when unknown.
    pub high_watermark: i64,
    /// Keys, values and headers, in bytes.
    pub bytes: usize,
}

/// An error that librdkafka put between the messages.
pub struct FetchError {
    pub partition: TopicPartition,
    pub code: RDKafkaRespErr,
}

impl<C: ConsumerContext + 'static> MessageQueue<C> {
    /// `max_messages` bounds one call of [`Self::fetch`]. `None` when librdkafka has no memory left.
    pub fn new(consumer: Arc<BaseConsumer<C>>, max_messages: usize) -> Option<Self> {
        // SAFETY: the client lives as long as `consumer`.
        let queue = NonNull::new(unsafe { native::rd_kafka_queue_new(consumer.client().native_ptr()) })?;
        Some(Self { queue, messages: Vec::with_capacity(max_messages), topics: HashMap::new(), consumer })
    }

    /// Sends the messages of a partition here from now on. Call it when the partition is assigned.
    pub fn take_partition(&self, partition: &TopicPartition) {
        let Ok(topic) = CString::new(&*partition.topic) else { return };
        // SAFETY: client and both queues are alive; the partition's queue is reference counted and given back.
        unsafe {
            let client = self.consumer.client().native_ptr();
            let source = native::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition.partition);
            if !source.is_null() {
                native::rd_kafka_queue_forward(source, self.queue.as_ptr());
                native::rd_kafka_queue_destroy(source);
            }
        }
    }

    /// Waits up to `timeout` for a first message, takes what else is there (at most `max` in all), and builds one batch
    /// a partition.
    pub fn fetch(&mut self, timeout: Duration, max: usize) -> Result<(Vec<Fetched>, Vec<FetchError>)> {
        let max = max.clamp(1, self.messages.capacity());
        // librdkafka waits until it has as many as are asked for, so only one is waited for.
        let mut count = self.take(0, timeout, 1);
        if count > 0 && max > 1 {
            count += self.take(count, Duration::ZERO, max - count);
        }
        if count == 0 {
            return Ok((Vec::new(), Vec::new()));
        }
        let _destroy = DestroyOnDrop(&mut self.messages);
        let messages = &*_destroy.0;
        // How much each partition has, so that no builder grows twice.
        let mut parts: Vec<Part> = Vec::new();
        let mut errors = Vec::new();
        let mut owner = Vec::with_capacity(count);
        for &message in messages.iter() {
            // SAFETY: the message is ours until `_destroy` runs.
            let m = unsafe { &*message };
            // Messages of one partition come in runs, so the one of the message before is tried first.
            let same = |p: &Part| p.topic_handle == m.rkt as usize && p.partition == m.partition;
            let at = match owner.last().copied().filter(|&at: &usize| same(&parts[at])) {
                Some(at) => at,
                None => parts.iter().position(same).unwrap_or_else(|| {
                    parts.push(Part::new(m.rkt as usize, m.partition));
                    parts.len() - 1
                }),
            };
            if m.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                parts[at].count += 1;
                parts[at].key_bytes += m.key_len;
                parts[at].value_bytes += m.len;
            } else {
                let topic = topic_name(&mut self.topics, m.rkt);
                errors.push(FetchError { partition: TopicPartition::new(topic, m.partition), code: m.err });
            }
            owner.push(at);
        }
        let mut columns: Vec<Columns> = parts.iter().map(Columns::with_room_for).collect();
        for (&message, &at) in messages.iter().zip(&owner) {
            // SAFETY: as above.
            if unsafe { (*message).err } == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                columns[at].push(message);
            }
        }
        let client = self.consumer.client().native_ptr();
        let mut fetched = Vec::with_capacity(parts.len());
        for (part, columns) in parts.iter().zip(columns).filter(|(p, _)| p.count > 0) {
            let topic = topic_name(&mut self.topics, part.topic_handle as *mut native::rd_kafka_topic_t);
            let (last_offset, bytes) = (columns.last_offset, columns.bytes);
            fetched.push(Fetched {
                high_watermark: high_watermark(client, &topic, part.partition),
                partition: TopicPartition::new(topic, part.partition),
                records: columns.finish()?,
                last_offset,
                bytes,
            });
        }
        Ok((fetched, errors))
    }
}

/// The end of a partition as known from the last fetch; no request is made.
fn high_watermark(client: *mut native::rd_kafka_t, topic: &str, partition: i32) -> i64 {
    let Ok(topic) = CString::new(topic) else { return -1 };
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the caller's client is alive and the out-pointers are ours.
    unsafe { native::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &mut low, &mut high) };
    high
}

impl<C: ConsumerContext + 'static> MessageQueue<C> {
    /// Appends up to `max` messages behind the `held` first ones; the number of new ones.
    fn take(&mut self, held: usize, timeout: Duration, max: usize) -> usize {
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let room = max.min(self.messages.capacity() - held);
        // SAFETY: there is room for `room` pointers behind the first `held`, and librdkafka says how many it wrote.
        unsafe {
            let start = self.messages.as_mut_ptr().add(held);
            let count = native::rd_kafka_consume_batch_queue(self.queue.as_ptr(), millis, start, room);
            let count = usize::try_from(count).unwrap_or(0);
            self.messages.set_len(held + count);
            count
        }
    }
}

impl<C: ConsumerContext + 'static> Drop for MessageQueue<C> {
    fn drop(&mut self) {
        // SAFETY: our only reference to the queue; the client is still alive.
        unsafe { native::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// Gives the messages back to librdkafka on every way out.
struct DestroyOnDrop<'a>(&'a mut Vec<*mut native::rd_kafka_message_t>);

impl Drop for DestroyOnDrop<'_> {
    fn drop(&mut self) {
        for message in self.0.drain(..) {
            // SAFETY: each message came from `rd_kafka_consume_batch_queue` and is destroyed once.
            unsafe { native::rd_kafka_message_destroy(message) }
        }
    }
}

fn topic_name(names: &mut HashMap<usize, Arc<str>>, topic: *mut native::rd_kafka_topic_t) -> Arc<str> {
    // SAFETY: librdkafka keeps a topic handle alive as long as its client once a message of it was seen.
    let name = || unsafe { CStr::from_ptr(native::rd_kafka_topic_name(topic)) }.to_string_lossy();
    if let Some(known) = names.get(&(topic as usize))
        && **known == *name()
    {
        return known.clone();
    }
    let name: Arc<str> = name().into();
    names.insert(topic as usize, name.clone());
    name
}

struct Part {
    topic_handle: usize,
    partition: i32,
    count: usize,
    key_bytes: usize,
    value_bytes: usize,
}

impl Part {
    fn new(topic_handle: usize, partition: i32) -> Self {
        Self { topic_handle, partition, count: 0, key_bytes: 0, value_bytes: 0 }
    }
}

struct Columns {
    offsets: Int64Builder,
    timestamps: TimestampMillisecondBuilder,
    keys: BinaryBuilder,
    values: BinaryBuilder,
    headers: Option<ListBuilder<StructBuilder>>,
    rows: usize,
    last_offset: i64,
    bytes: usize,
}

impl Columns {
    fn with_room_for(part: &Part) -> Self {
        Self {
            offsets: Int64Builder::with_capacity(part.count),
            timestamps: TimestampMillisecondArray::builder(part.count),
            keys: BinaryBuilder::with_capacity(part.count, part.key_bytes),
            values: BinaryBuilder::with_capacity(part.count, part.value_bytes),
            headers: None,
            rows: 0,
            last_offset: -1,
            bytes: 0,
        }
    }

    fn push(&mut self, message: *mut native::rd_kafka_message_t) {
        // SAFETY: the caller owns the message for the length of this call; payload and key live as long.
        let m = unsafe { &*message };
        self.offsets.append_value(m.offset);
        let mut kind = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: as above.
        let timestamp = unsafe { native::rd_kafka_message_timestamp(message, &mut kind) };
        self.timestamps.append_option((timestamp >= 0).then_some(timestamp));
        self.keys.append_option(bytes_at(m.key, m.key_len));
        self.values.append_option(bytes_at(m.payload, m.len));
        self.bytes += m.key_len + m.len;
        self.push_headers(message);
        self.rows += 1;
        self.last_offset = m.offset;
    }

    fn push_headers(&mut self, message: *mut native::rd_kafka_message_t) {
        let mut list = std::ptr::null_mut();
        // SAFETY: `list` is set when the call succeeds and lives as long as the message.
        let found = unsafe { native::rd_kafka_message_headers(message, &mut list) }
            == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        if !found {
            if let Some(headers) = &mut self.headers {
                headers.append(true);
            }
            return;
        }
        let rows = self.rows;
        let headers = self.headers.get_or_insert_with(|| {
            let mut builder = new_headers();
            (0..rows).for_each(|_| builder.append(true));
            builder
        });
        for at in 0.. {
            let (mut name, mut value, mut size): (*const c_char, *const c_void, usize) =
                (std::ptr::null(), std::ptr::null(), 0);
            // SAFETY: `list` is alive; the out-pointers are set when the call succeeds.
            let name = unsafe {
                if native::rd_kafka_header_get_all(list, at, &mut name, &mut value, &mut size)
                    != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
                {
                    break;
                }
                CStr::from_ptr(name).to_string_lossy()
            };
            self.bytes += name.len() + size;
            let entry = headers.values();
            if let Some(names) = entry.field_builder::<StringBuilder>(0) {
                names.append_value(name);
            }
            if let Some(values) = entry.field_builder::<BinaryBuilder>(1) {
                values.append_option(bytes_at(value, size));
            }
            entry.append(true);
        }
        headers.append(true);
    }

    fn finish(mut self) -> Result<RecordBatch> {
        let offsets: Int64Array = self.offsets.finish();
        let mut batch = EnvelopeBuilder::new()
            .offsets(offsets)
            .timestamps(self.timestamps.finish())
            .key(Form::Bytes, Arc::new(self.keys.finish()))
            .value(Form::Bytes, Arc::new(self.values.finish()));
        if let Some(mut headers) = self.headers {
            let headers: ArrayRef = Arc::new(headers.finish());
            batch = batch.headers(headers);
        }
        batch.build()
    }
}

fn new_headers() -> ListBuilder<StructBuilder> {
    let item = match headers_type() {
        DataType::List(item) => item,
        _ => unreachable!("headers are a list"),
    };
    let fields = match item.data_type() {
        DataType::Struct(fields) => fields.clone(),
        _ => Fields::empty(),
    };
    ListBuilder::new(StructBuilder::from_fields(fields, 0)).with_field(item)
}

/// `None` for null, which Kafka tells from empty.
fn bytes_at<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: librdkafka gives a valid range or null; the caller uses it only while the message lives.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), len) })
}

/// Kafka's ids of topics. It is here because the wrapper has no such call, and this file is one of those that may make it.
/// Topics that do not exist are left out, and all of them by a cluster that has no ids.
pub fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[Arc<str>],
    timeout: Duration,
) -> KafkaResult<BTreeMap<Arc<str>, Arc<str>>> {
    let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(&**topic).ok()).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let mut ids = BTreeMap::new();
    let mut failed = RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT;
    // SAFETY: the client is alive; collection, options, queue and event are made and destroyed here; the result's
    // descriptions and their texts live as long as the event, and are copied before it goes.
    unsafe {
        let client = client.native_ptr();
        let queue = native::rd_kafka_queue_new(client);
        let options = native::rd_kafka_AdminOptions_new(
            client,
            native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        native::rd_kafka_AdminOptions_set_request_timeout(options, millis, std::ptr::null_mut(), 0);
        let wanted = native::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        native::rd_kafka_DescribeTopics(client, wanted, options, queue);
        let event = native::rd_kafka_queue_poll(queue, millis);
        if !event.is_null() {
            failed = native::rd_kafka_event_error(event);
            let result = native::rd_kafka_event_DescribeTopics_result(event);
            let mut count = 0;
            let found = match result.is_null() {
                true => std::ptr::null_mut(),
                false => native::rd_kafka_DescribeTopics_result_topics(result, &mut count),
            };
            for at in 0..if found.is_null() { 0 } else { count } {
                let topic = *found.add(at);
                let error = native::rd_kafka_TopicDescription_error(topic);
                if !error.is_null() {
                    failed = native::rd_kafka_error_code(error);
                }
                let id = native::rd_kafka_TopicDescription_topic_id(topic);
                let text = if id.is_null() { std::ptr::null() } else { native::rd_kafka_Uuid_base64str(id) };
                let name = native::rd_kafka_TopicDescription_name(topic);
                if text.is_null() || name.is_null() {
                    continue;
                }
                let id = CStr::from_ptr(text).to_string_lossy();
                // All zeros: a broker that has no ids.
                if !id.trim_end_matches('=').trim_matches('A').is_empty() {
                    ids.insert(CStr::from_ptr(name).to_string_lossy().into(), id.into());
                }
            }
            native::rd_kafka_event_destroy(event);
        }
        native::rd_kafka_TopicCollection_destroy(wanted);
        native::rd_kafka_AdminOptions_destroy(options);
        native::rd_kafka_queue_destroy(queue);
    }
    match failed.into() {
        RDKafkaErrorCode::NoError
        | RDKafkaErrorCode::UnsupportedFeature
        | RDKafkaErrorCode::UnknownTopicOrPartition => Ok(ids),
        code => Err(KafkaError::AdminOp(code)),
    }
}

/// Serves one event of a client's main queue: a log line, an error, the wish for a token. Clients that are polled do this
/// themselves; the wrapper's admin client never does, and so would never authenticate with tokens.
pub fn serve<C: ClientContext>(client: &Client<C>, timeout: Duration) {
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client is alive; queue and event are given back here; texts are copied or used before the event goes.
    unsafe {
        let queue = native::rd_kafka_queue_get_main(client.native_ptr());
        let event = native::rd_kafka_queue_poll(queue, millis);
        if !event.is_null() {
            let context = client.context();
            match native::rd_kafka_event_type(event) {
                native::RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut text, mut level) = (std::ptr::null(), std::ptr::null(), 0);
                    if native::rd_kafka_event_log(event, &mut facility, &mut text, &mut level) == 0 {
                        let [facility, text] =
                            [facility, text].map(|text| CStr::from_ptr(text).to_string_lossy());
                        // syslog's numbers
                        let level = match level {
                            ..=3 => RDKafkaLogLevel::Error,
                            4 => RDKafkaLogLevel::Warning,
                            _ => RDKafkaLogLevel::Info,
                        };
                        context.log(level, facility.trim(), text.trim());
                    }
                }
                native::RD_KAFKA_EVENT_ERROR => {
                    let error = KafkaError::Global(native::rd_kafka_event_error(event).into());
                    let reason = CStr::from_ptr(native::rd_kafka_event_error_string(event)).to_string_lossy();
                    context.error(error, reason.trim());
                }
                native::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH => give_token(client),
                _ => {}
            }
            native::rd_kafka_event_destroy(event);
        }
        native::rd_kafka_queue_destroy(queue);
    }
}

fn give_token<C: ClientContext>(client: &Client<C>) {
    let made = client.context().generate_oauth_token(None).map_err(|e| e.to_string()).and_then(|made| {
        let texts =
            CString::new(made.token).and_then(|token| Ok((token, CString::new(made.principal_name)?)));
        texts.map(|(token, principal)| (token, principal, made.lifetime_ms)).map_err(|e| e.to_string())
    });
    let mut said = [0 as c_char; 512];
    // SAFETY: the client is alive; all texts end with 0 and outlive the calls; `said` has the size that is told.
    unsafe {
        let failed = match &made {
            Ok((token, principal, lifetime)) => {
                let code = native::rd_kafka_oauthbearer_set_token(
                    client.native_ptr(),
                    token.as_ptr(),
                    *lifetime,
                    principal.as_ptr(),
                    std::ptr::null_mut(),
                    0,
                    said.as_mut_ptr(),
                    said.len(),
                );
                let refused = code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
                refused.then(|| CStr::from_ptr(said.as_ptr()).to_owned())
            }
            Err(why) => Some(CString::new(why.replace('\0', " ")).unwrap_or_default()),
        };
        if let Some(why) = failed {
            native::rd_kafka_oauthbearer_set_token_failure(client.native_ptr(), why.as_ptr());
        }
    }
}
