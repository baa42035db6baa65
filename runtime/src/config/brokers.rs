//! Whether there is the Kafka that the connectors need, or the file that stands in for it.

use super::connector::ConnectorConfig;
use super::diagnostic::{Diagnostic, Report, Severity};
use super::documents::Declared;
use super::worker::{Section, WorkerConfig};

/// Only direct pipelines do without Kafka; then their positions need a file.
pub(super) fn check(
    worker: &WorkerConfig,
    section: Option<&Section>,
    declared: &[Declared],
    connectors: &[ConnectorConfig],
    report: &mut Report,
) {
    if worker.names_brokers {
        return;
    }
    let all_direct = !declared.is_empty()
        && connectors.len() == declared.len()
        && connectors.iter().all(ConnectorConfig::is_direct);
    let has_file = worker.offset_storage_file.is_some();
    match (all_direct, section) {
        (true, _) if has_file => {}
        (true, _) => {
            let place = section.map_or(&declared[0].place, |section| &section.place);
            let message = "there is no Kafka, and no file in which the pipelines store how far they are";
            let hint = "write `offset.storage.file.filename: /var/lib/sidestream/offsets` in the worker's keys, on a disk \
                        that outlives the process; or name `bootstrap.servers`";
            report.add(Diagnostic::error(place, message).key("offset.storage.file.filename").hint(hint));
        }
        (false, Some(section)) => {
            let message = "`bootstrap.servers` is missing";
            let hint = "write `bootstrap.servers: host:9092` in the worker's keys";
            report.add(Diagnostic::error(&section.place, message).key("bootstrap.servers").hint(hint));
        }
        (false, None) if !report.failed() => {
            let message = "no file has the worker's keys, so there is no Kafka to connect to";
            let hint = "add a file with `worker: {bootstrap.servers: …}` before running";
            report.add(Diagnostic::placeless(Severity::Warning, message).hint(hint));
        }
        (false, None) => {}
    }
}
