//! What is where, and what describes it.

use axum::extract::{DefaultBodyLimit, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router, middleware};
use utoipa::openapi::OpenApi as Description;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{ErrorBody, ModelCard};
use super::refusal::Refusal;
use super::{App, guard, page, predict};
use crate::state::Phase;

/// A body may have this many bytes.
const MOST_BYTES: usize = 4 << 20;

#[derive(OpenApi)]
#[openapi(modifiers(&Token))]
struct Api;

struct Token;

impl Modify for Token {
    fn modify(&self, api: &mut Description) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        api.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// All routes.
pub fn routes(app: &App) -> Router {
    let (router, description) = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(predict::predict))
        .routes(routes!(predict::predict_batch))
        .routes(routes!(predict::read))
        .routes(routes!(model))
        .routes(routes!(metrics))
        .routes(routes!(healthz))
        .split_for_parts();
    router
        .route("/openapi.json", get(move || async { Json(description) }))
        .route("/", get(page::page))
        .route(page::STYLE, get(page::style))
        .route(page::SCRIPT, get(page::script))
        .fallback(|| async { Refusal::no_such_path() })
        .method_not_allowed_fallback(|| async { Refusal::no_such_method() })
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .layer(middleware::from_fn_with_state(app.clone(), guard::guard))
        .with_state(app.clone())
}

/// The network that answers
#[utoipa::path(
    get, path = "/model",
    responses(
        (status = 200, body = ModelCard, description = "what it is and how far it is trained"),
        (status = 401, body = ErrorBody, description = "the server wants a token"),
        (status = 503, body = ErrorBody, description = "no network is loaded"),
    ),
    security((), ("token" = [])),
)]
async fn model(State(app): State<App>) -> Result<Json<ModelCard>, Refusal> {
    ModelCard::of(&app.0.state.borrow()).map(Json).ok_or_else(Refusal::no_network)
}

/// Requests, latencies and digits, for Prometheus
#[utoipa::path(
    get, path = "/metrics",
    responses(
        (status = 200, body = String, content_type = "application/openmetrics-text", description = "the figures"),
        (status = 401, body = ErrorBody, description = "the server wants a token"),
    ),
    security((), ("token" = [])),
)]
async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.0.metrics.text())
}

/// Whether there is a network that can answer
#[utoipa::path(
    get, path = "/healthz",
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "there is"),
        (status = 503, body = ErrorBody, description = "no network is loaded"),
    ),
)]
async fn healthz(State(app): State<App>) -> Result<&'static str, Refusal> {
    match app.0.state.borrow().phase {
        Phase::Loading | Phase::Failed(_) | Phase::Closed => Err(Refusal::no_network()),
        _ => Ok("ok\n"),
    }
}
