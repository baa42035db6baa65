//! The source that the host opens, polls and commits.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::serve::ListenerExt;
use connector_core::{
    Acks, ConfigProblem, ConnectError, Metric, Plugin, PollBudget, Result, Source, SourceBatch,
    SourceContext, SourceOffset, TaskConfig, TaskInfo, TopicDirectory, async_trait,
};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::answer::RecordAnswer;
use crate::batch::{Assembly, InFlight};
use crate::config::{Allowed, Backend, Config};
use crate::counts::Counts;
use crate::endpoint::Endpoint;
use crate::intake::{Capacity, Intake};
use crate::streams::{self, Kinesis, Streams, Topics};

/// How long `close` waits for the last commits, and once more for the last answers to go out.
const CLOSING: Duration = Duration::from_secs(1);

/// Takes records over HTTP as Confluent REST Proxy v2 does, and as API Gateway does in front of Kinesis.
pub struct WebhookSource {
    config: Config,
    allowed: Allowed,
    /// See [`TaskInfo::direct`].
    direct: bool,
    counts: Arc<Counts>,
    intake: Arc<Intake>,
    server: Mutex<Option<Server>>,
    flight: Mutex<Flight>,
}

struct Server {
    address: SocketAddr,
    /// Dropped: no more connections, and those that wait get their answers.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// What the host has and has not committed yet.
#[derive(Default)]
struct Flight {
    last_token: u64,
    batches: VecDeque<(u64, InFlight)>,
    /// See [`InFlight::answer`].
    begun: Vec<RecordAnswer>,
}

impl WebhookSource {
    /// Where the server listens; `None` before `open` and after `close`. Tells the port when `webhook.listen` asks for
    /// port 0.
    pub fn address(&self) -> Option<SocketAddr> {
        lock(&self.server).as_ref().map(|server| server.address)
    }

    /// The HTTP side alone, without a socket.
    pub fn endpoint(&self, topics: Arc<dyn TopicDirectory>) -> Endpoint {
        let topics = if self.direct { Arc::new(NoTopics) } else { topics };
        let backend = match self.config.backend {
            Backend::Kinesis => {
                let access = self.config.kinesis.access();
                streams::Backend::Kinesis(Box::new(Kinesis::new(access, self.config.ack_timeout())))
            }
            Backend::Kafka => streams::Backend::Kafka(Topics {
                intake: Arc::clone(&self.intake),
                directory: Arc::clone(&topics),
                mapping: self.config.topic_mapping.clone(),
            }),
        };
        Endpoint {
            intake: Arc::clone(&self.intake),
            topics,
            writable: self.allowed.topics.clone(),
            max_body_bytes: self.config.max_body_bytes,
            streams: Arc::new(Streams { allowed: self.allowed.streams.clone(), backend }),
            counts: Arc::clone(&self.counts),
        }
    }
}

/// In a direct pipeline whatever may be named is there, with the one partition that the task is.
struct NoTopics;

impl TopicDirectory for NoTopics {
    fn partitions(&self, _: &str) -> Option<u32> {
        Some(1)
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Plugin for WebhookSource {
    type Config = Config;

    const NAME: &'static str = "webhook-source";
    const SUMMARY: &'static str = "Takes records over HTTP, as Confluent REST Proxy v2 (POST /topics/{topic}) and Kinesis behind API Gateway do.";
    const DELIVERY: &'static str = "a 2xx answer means that Kafka (its transaction) or the sink of the same connector has the record; a client that got \
         no answer may send it again.";

    fn create(config: Config, task: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        let allowed = config.check()?;
        let capacity = Capacity { records: config.queue_records, bytes: config.queue_bytes };
        let intake = Intake::new(capacity, config.ack_timeout());
        let (counts, server, flight) = (Arc::default(), Mutex::default(), Mutex::default());
        Ok(Self { config, allowed, direct: task.direct, counts, intake, server, flight })
    }
}

#[async_trait]
impl Source for WebhookSource {
    /// One task: a port has one owner.
    async fn plan(&self, _: usize) -> Result<Vec<TaskConfig>> {
        Ok(vec![TaskConfig::new()])
    }

    async fn open(&self, context: SourceContext) -> Result<()> {
        let cannot_listen = |error| cannot_listen(&self.config.listen, error);
        let listener = TcpListener::bind(&self.config.listen).await.map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        let endpoint = self.endpoint(context.topics);
        let router = Router::new().fallback(move |request: Request| {
            let endpoint = endpoint.clone();
            async move { endpoint.answer(request).await }
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = listener.tap_io(|connection| {
            // Answers are short: without this they may wait for more.
            let _ = connection.set_nodelay(true);
        });
        let serve = axum::serve(listener, router).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        let task = tokio::spawn(async {
            // axum's server goes on after errors of single connections and ends only when told.
            let _ = serve.await;
        });
        *lock(&self.server) = Some(Server { address, stop, task });
        tracing::info!(%address, "webhook source listens");
        Ok(())
    }

    async fn poll(&self, budget: PollBudget) -> Result<Option<SourceBatch>> {
        // Offsets within an Arrow array are 32 bits wide.
        let budget = PollBudget { max_bytes: budget.max_bytes.min(1 << 30), ..budget };
        let Some(requests) = self.intake.take(budget).await else { return Ok(None) };
        // Nothing is awaited from here on, so that a dropped poll has taken nothing.
        let mut assembly = Assembly::default();
        requests.into_iter().for_each(|request| assembly.add(request));
        let (runs, in_flight) = assembly.finish()?;
        let mut flight = lock(&self.flight);
        flight.last_token += 1;
        let token = flight.last_token;
        flight.batches.push_back((token, in_flight));
        Ok(Some(SourceBatch::new(runs, SourceOffset { token, positions: Vec::new() })))
    }

    async fn commit(&self, offset: &SourceOffset, acks: &Acks) -> Result<()> {
        let mut flight = lock(&self.flight);
        let wrong = |what: &str| {
            let message = format!("batch {} of the webhook source: {what}", offset.token);
            ConnectError::internal("webhook.commit", message)
        };
        // Batches are committed in the order of their polls.
        let Some((_, in_flight)) = flight.batches.pop_front_if(|(token, _)| *token == offset.token) else {
            return Err(wrong("is not the next one to be committed"));
        };
        let records = in_flight.records();
        if acks.rows.len() != records {
            // Dropped, its requests are answered as of unknown outcome.
            return Err(wrong(&format!("has {records} records, but {} acknowledgements", acks.rows.len())));
        }
        in_flight.answer(&acks.rows, &mut flight.begun);
        Ok(())
    }

    /// Refuses new requests and those that were never polled, and lets the others be answered: those of batches that
    /// are not committed soon hear that nobody knows.
    async fn close(&self) -> Result<()> {
        self.intake.close();
        let server = lock(&self.server).take();
        if let Some(Server { stop, mut task, address }) = server {
            drop(stop);
            if timeout(CLOSING, &mut task).await.is_err() {
                *lock(&self.flight) = Flight::default();
                if timeout(CLOSING, &mut task).await.is_err() {
                    tracing::warn!(%address, "webhook source stops while connections are still open");
                    task.abort();
                }
            }
        }
        *lock(&self.flight) = Flight::default();
        Ok(())
    }

    fn metrics(&self) -> Vec<Metric> {
        self.counts.metrics()
    }

    fn wants_acks(&self) -> bool {
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cannot_listen(address: &str, error: std::io::Error) -> ConnectError {
    use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    let message = format!("webhook.listen: cannot listen on {address}");
    match error.kind() {
        AddrInUse => ConnectError::user("webhook.address_in_use", message)
            .hint("another process or connector uses this port; choose another one")
            .caused_by(error),
        AddrNotAvailable => ConnectError::user("webhook.address_not_available", message)
            .hint("this machine has no such address; 0.0.0.0 listens on all it has")
            .caused_by(error),
        PermissionDenied => ConnectError::user("webhook.permission_denied", message)
            .hint("ports below 1024 are for privileged users; choose a higher one")
            .caused_by(error),
        _ => ConnectError::external("webhook.cannot_listen", message).caused_by(error),
    }
}
