//! Work that goes on by itself, whatever its owner waits for meanwhile.
//!
//! A plugin may hold a lock while it flushes or polls, and take the same lock in another call: were the two driven by
//! one task in turns, the second would wait for ever.

use std::future::Future;

use connector_core::{ConnectError, Result};
use tokio::task::JoinHandle;

/// Ends with its owner.
pub struct Background<T>(JoinHandle<Result<T>>);

impl<T: Send + 'static> Background<T> {
    pub fn start(work: impl Future<Output = Result<T>> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Its outcome. Not to be asked again after that; a wait that is broken off may be repeated.
    pub async fn outcome(&mut self) -> Result<T> {
        // A panic's message may hold a value of the data.
        (&mut self.0).await.unwrap_or_else(|_| {
            Err(ConnectError::internal("task.panic", "the plugin panicked")
                .hint("this is a defect: please report it with the log line of the panic"))
        })
    }

    /// Breaks it off, and waits until nothing of it runs any more.
    pub async fn end(mut self) {
        self.0.abort();
        // Who has got the outcome must not wait for it once more.
        if !self.0.is_finished() {
            let _ = (&mut self.0).await;
        }
    }
}

impl<T> Drop for Background<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::{Mutex, Notify};

    use super::*;

    #[tokio::test]
    async fn it_goes_on_while_its_owner_waits_for_something_else() {
        let (lock, locked) = (Arc::new(Mutex::new(0)), Arc::new(Notify::new()));
        let mut work = {
            let (lock, locked) = (lock.clone(), locked.clone());
            Background::start(async move {
                let mut number = lock.lock().await;
                locked.notify_one();
                tokio::time::sleep(Duration::from_millis(20)).await;
                *number += 1;
                Ok(*number)
            })
        };
        locked.notified().await;
        assert_eq!(*lock.lock().await, 1, "the lock is given back though nobody asked for the outcome");
        assert_eq!(work.outcome().await.unwrap(), 1);
        work.end().await;
    }

    #[tokio::test]
    async fn nothing_of_it_runs_after_its_end_and_a_panic_is_an_error() {
        let held = Arc::new(());
        let also = held.clone();
        let work = Background::<()>::start(async move {
            let _held = also;
            std::future::pending().await
        });
        work.end().await;
        assert_eq!(Arc::strong_count(&held), 1);

        let error = Background::<()>::start(async { panic!("boom") }).outcome().await.unwrap_err();
        assert_eq!(error.code, "task.panic");
        assert!(!error.to_string().contains("boom"));
    }
}
