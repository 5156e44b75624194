//! Figures of the server in Prometheus's text format.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of latencies in seconds: a prediction takes some hundred microseconds.
const LATENCIES: [f64; 12] = [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 2.0, 10.0];

/// What is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    latencies: Family<Route, Histogram>,
    digits: Family<Digit, Counter>,
    reloads: Family<Reloaded, Counter>,
    /// Connections that are open.
    pub connections: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    route: String,
    status: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Digit {
    digit: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reloaded {
    result: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("mnist_lab");
        let requests = Family::default();
        let latencies = Family::new_with_constructor((|| Histogram::new(LATENCIES)) as fn() -> Histogram);
        let (digits, reloads, connections) = (Family::default(), Family::default(), Gauge::default());
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register_with_unit(
            "http_request",
            "Time from a request's head to its answer",
            Unit::Seconds,
            latencies.clone(),
        );
        registry.register("digits_predicted", "Digits predicted, by class", digits.clone());
        registry.register("session_reloads", "Times that the session's file had changed", reloads.clone());
        registry.register("http_connections", "Open connections", connections.clone());
        Self { registry, requests, latencies, digits, reloads, connections }
    }
}

impl Metrics {
    /// A request to `route` was answered.
    pub fn answered(&self, route: String, status: u16, took: Duration) {
        self.latencies.get_or_create(&Route { route: route.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&Answered { route, status: status.into() }).inc();
    }

    /// These digits were predicted.
    pub fn predicted(&self, digits: impl Iterator<Item = u8>) {
        for digit in digits {
            self.digits.get_or_create(&Digit { digit: digit.into() }).inc();
        }
    }

    /// The session's file had changed and was taken over, or could not be.
    pub fn reloaded(&self, result: &'static str) {
        self.reloads.get_or_create(&Reloaded { result }).inc();
    }

    /// All of it as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
