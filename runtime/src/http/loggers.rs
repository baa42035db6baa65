//! `/admin/loggers`, as Connect answers it: levels of the log while the process runs.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::telemetry::log::{self, Level};

pub async fn list() -> Json<BTreeMap<String, Level>> {
    Json(log::loggers())
}

pub async fn get(Path(logger): Path<String>) -> Response {
    let mut all = log::loggers();
    let name = if logger.eq_ignore_ascii_case("root") { "root" } else { &logger };
    match all.remove(name) {
        Some(level) => Json(level).into_response(),
        None => error(StatusCode::NOT_FOUND, &format!("Logger {logger} not found.")),
    }
}

/// There is one worker: the scope decides only the form of the answer.
pub async fn put(Path(logger): Path<String>, RawQuery(query): RawQuery, body: String) -> Response {
    let body: Value = match serde_json::from_str(&body) {
        Ok(body) => body,
        Err(_) => return error(StatusCode::BAD_REQUEST, "The body is no JSON object."),
    };
    let Some(level) = body.get("level").and_then(Value::as_str) else {
        return error(StatusCode::BAD_REQUEST, "Desired 'level' parameter was not specified in request.");
    };
    if level.is_empty() {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "Illegal null or empty Level name.");
    }
    match log::set_level(&logger, level) {
        None => error(StatusCode::NOT_FOUND, &format!("invalid log level '{level}'.")),
        Some(_) if is_cluster(query.as_deref().unwrap_or_default()) => StatusCode::NO_CONTENT.into_response(),
        Some(affected) => Json(affected).into_response(),
    }
}

fn is_cluster(query: &str) -> bool {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .any(|(key, value)| key == "scope" && value.eq_ignore_ascii_case("cluster"))
}

fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"error_code": status.as_u16(), "message": message}))).into_response()
}
