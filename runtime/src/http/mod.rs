//! The worker's HTTP interface: health, metrics, levels of the log.

pub mod health;
mod loggers;
pub mod metrics;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use connector_core::{ConnectError, Result};
use tokio::net::TcpListener;

use crate::task::host::Host;

/// Listens on the addresses of `listeners` (`http://127.0.0.1:8083`).
pub async fn bind(listeners: &[String]) -> Result<Vec<TcpListener>> {
    let mut bound = Vec::new();
    for listener in listeners {
        let address = address(listener)?;
        let socket = TcpListener::bind(address).await.map_err(|error| {
            ConnectError::user("http.listen", format!("listeners: cannot listen on {address}"))
                .caused_by(error)
                .hint("stop what listens there, or choose another port in `worker: {listeners: http://host:port}`")
        })?;
        bound.push(socket);
    }
    Ok(bound)
}

fn address(listener: &str) -> Result<SocketAddr> {
    let wrong = || {
        ConnectError::user("http.listen", format!("listeners: `{listener}` is no address"))
            .hint("write http://127.0.0.1:8083 (https is not served)")
    };
    let lower = listener.to_ascii_lowercase();
    let rest = lower.strip_prefix("http://").ok_or_else(wrong)?.trim_end_matches('/');
    let rest = if rest.starts_with(':') {
        format!("127.0.0.1{rest}")
    } else {
        rest.replace("localhost", "127.0.0.1")
    };
    rest.parse().map_err(|_| wrong())
}

/// Serves until the process ends.
pub fn serve(host: &Arc<Host>, listeners: Vec<TcpListener>) {
    let routes = Router::new()
        .route("/health", get(health::health))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/health/tasks", get(health::tasks))
        .route("/metrics", get(metrics::metrics))
        .route("/admin/loggers", get(loggers::list))
        .route("/admin/loggers/{logger}", get(loggers::get).put(loggers::put))
        .with_state(host.clone());
    for listener in listeners {
        let routes = routes.clone();
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!("the HTTP listener ended: {error}");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn connects_spelling_of_a_listener_is_an_address_on_loopback_by_default() {
        assert_eq!(address("HTTP://127.0.0.1:8083").unwrap().to_string(), "127.0.0.1:8083");
        assert_eq!(address("http://:8083").unwrap().to_string(), "127.0.0.1:8083");
        assert!(address("https://127.0.0.1:8083").is_err());
        assert!(address("8083").is_err());
    }
}
