//! The page to draw on: three files inside the binary, so that it works without internet.

use axum::http::header;
use axum::response::{Html, IntoResponse};

/// Path of the style sheet.
pub const STYLE: &str = "/page.css";
/// Path of the script.
pub const SCRIPT: &str = "/page.js";

/// The page.
pub async fn page() -> impl IntoResponse {
    (NO_STORE, Html(include_str!("page/page.html")))
}

/// Its style sheet.
pub async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], NO_STORE, include_str!("page/page.css"))
}

/// Its script.
pub async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], NO_STORE, include_str!("page/page.js"))
}

/// The next version of the program brings its own page.
const NO_STORE: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];
