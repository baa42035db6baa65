//! Files that are read again while the worker runs: at SIGHUP, with `--watch` when one has changed, and when a secret has.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::files::{Files, Print};
use crate::config::Severity;
use crate::task::host::{Host, Why};

/// How often files are looked at. A change counts when two looks show the same: files are not written all at once.
const LOOK: Duration = Duration::from_secs(1);

/// Reloads until the process ends.
pub async fn follow(host: Arc<Host>, files: Files, watch: bool) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    let mut watcher = Watcher::new(files.print());
    loop {
        let (why, said) = tokio::select! {
            _ = hangup.recv() => (Why::Files, "SIGHUP"),
            () = watcher.change(&files), if watch => (Why::Files, "a file has changed"),
            () = files.secrets.changed() => (Why::Secrets, "a secret was read"),
        };
        watcher.known = files.print();
        tracing::info!("reload: {said}");
        reload(&host, files.clone(), why).await;
    }
}

/// A run that comes to an end does what it was started for.
pub async fn refuse() {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        tracing::warn!("SIGHUP has no effect on a run that comes to an end");
    }
}

struct Watcher {
    /// What the running configuration was read from.
    known: Print,
    seen: Print,
}

impl Watcher {
    fn new(known: Print) -> Self {
        Self { seen: known.clone(), known }
    }

    async fn change(&mut self, files: &Files) {
        loop {
            tokio::time::sleep(LOOK).await;
            if self.settled(files.print()) {
                return;
            }
        }
    }

    /// Whether the files are other ones than those that are known, and no longer change.
    fn settled(&mut self, now: Print) -> bool {
        let settled = now != self.known && now == self.seen;
        self.seen = now;
        settled
    }
}

async fn reload(host: &Arc<Host>, files: Files, why: Why) {
    // Reading files and opening libraries may take its time.
    let running = host.worker().deployment().registry.clone();
    let loaded = tokio::task::spawn_blocking(move || files.reload(running)).await;
    let deployment = match loaded {
        Ok(Ok(deployment)) => deployment,
        Ok(Err(diagnostics)) => {
            for diagnostic in diagnostics.iter().filter(|d| d.severity == Severity::Error) {
                tracing::error!("reload: {}", diagnostic.to_string().replace('\n', " "));
            }
            tracing::error!(
                "reload: nothing changes, because the files have errors; the connectors run on as they are"
            );
            return;
        }
        Err(error) => {
            tracing::error!("reload: nothing changes: {error}");
            return;
        }
    };
    for diagnostic in deployment.diagnostics.iter().filter(|d| d.severity == Severity::Warning) {
        tracing::warn!("reload: {}", diagnostic.to_string().replace('\n', " "));
    }
    match host.apply(deployment, why).await {
        Ok(changes) if changes.is_empty() => tracing::info!("reload: nothing changes"),
        Ok(changes) => tracing::info!(
            changed = changes.connectors.len(),
            unchanged = changes.unchanged.len(),
            "reload: done"
        ),
        Err(error) => tracing::error!("reload: nothing changes: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_two_looks_show_the_same() {
        let print = |n: u8| vec![Some([n; 32])];
        let mut watcher = Watcher::new(print(0));
        assert!(!watcher.settled(print(0)), "nothing changed");
        assert!(!watcher.settled(print(1)), "half of a file");
        assert!(!watcher.settled(print(2)), "the other half");
        assert!(watcher.settled(print(2)));
        watcher.known = print(2);
        assert!(!watcher.settled(print(2)));
        assert!(!watcher.settled(vec![None]), "between removal and rename");
        assert!(!watcher.settled(print(2)), "and back again");
    }
}
