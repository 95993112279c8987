//! `/metrics`, and a page that links to it.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::text::Format;
use crate::control::routes::{ANSWER_WITHIN, Error, Questions, ask};
use crate::control::{Request, RequestSender};

/// The page at `/`.
const PAGE: &str = "<!doctype html><title>xblade</title><h1>xblade</h1>\
    <p><a href=\"/metrics\">Metrics</a> for Prometheus</p>\n";

/// The routes.
pub fn router(sender: RequestSender) -> Router {
    Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/metrics", get(metrics))
        .with_state(Questions::new(sender))
}

async fn metrics(State(to): State<Questions>, headers: HeaderMap) -> Response {
    let snapshot = match ask(&to, ANSWER_WITHIN, Request::Snapshot).await {
        Ok(snapshot) => snapshot,
        Err(Error(status, why)) => return (status, format!("{why}\n")).into_response(),
    };
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = wanted(accept);
    ([(header::CONTENT_TYPE, format.content_type())], super::render(&snapshot, format)).into_response()
}

/// The format that the client prefers; OpenMetrics if it has no preference.
fn wanted<'a>(accept: impl Iterator<Item = &'a str>) -> Format {
    let (mut open, mut plain) = (None, None);
    for range in accept.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let slot = match parts.next().unwrap_or_default() {
            "application/openmetrics-text" | "application/*" => &mut open,
            "text/plain" | "text/*" | "text/html" => &mut plain,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
        *slot = Some(slot.unwrap_or(0.0_f32).max(quality));
    }
    match (open, plain) {
        (None, Some(quality)) if quality > 0.0 => Format::Prometheus,
        (Some(open), Some(plain)) if plain > open => Format::Prometheus,
        _ => Format::OpenMetrics,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_format_that_it_likes_best() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
                          q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, format) in [
            (prometheus, Format::OpenMetrics),
            ("", Format::OpenMetrics),
            ("*/*", Format::OpenMetrics),
            ("text/plain", Format::Prometheus),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Prometheus),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Prometheus),
            ("application/openmetrics-text;q=0.3,text/plain;q=0.9", Format::Prometheus),
            ("application/openmetrics-text; q=0.9 , text/plain; q=0.3", Format::OpenMetrics),
            ("text/plain;q=0", Format::OpenMetrics),
        ] {
            assert_eq!(wanted([accept].into_iter()), format, "{accept}");
        }
    }
}
