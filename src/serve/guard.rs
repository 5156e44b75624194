//! Around every request: token, time, memory, figures, and headers that keep browsers careful.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::App;
use super::listen::REQUEST;
use super::page;
use super::refusal::Refusal;

/// What anybody may see: the page knows nothing, and a monitor has no token.
const OPEN: [&str; 4] = ["/", page::STYLE, page::SCRIPT, "/healthz"];
/// The page loads nothing from elsewhere and nobody else's page shows it.
const HEADERS: [(HeaderName, &str); 3] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// Lets a request through to its handler, or refuses it.
pub async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    // Only routes count: a label for each path that somebody makes up would fill the memory.
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let mut response = if app.lets_in(&route, &request) {
        let share = app.0.memory.share();
        let request = request.map(|body| share.count(body));
        match timeout(REQUEST, next.run(request)).await {
            Ok(_) if share.was_refused() => Refusal::busy().into_response(),
            Ok(response) => response,
            Err(_) => Refusal::slow().into_response(),
        }
    } else {
        let mut response = Refusal::unauthorized().into_response();
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        response
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    app.0.metrics.answered(route, response.status().as_u16(), begun.elapsed());
    response
}

impl App {
    fn lets_in(&self, route: &str, request: &Request) -> bool {
        let Some(wanted) = self.0.token else { return true };
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token =
            given.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        OPEN.contains(&route) || token.is_some_and(|(_, token)| blake3::hash(token.trim().as_bytes()) == wanted)
    }
}
