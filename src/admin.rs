//! `/metrics`, `/livez` and `/readyz` over HTTP.
//!
//! `/livez` says that the process runs: it must never fail because a broker is away, or an orchestrator would restart
//! what a restart cannot mend. `/readyz` says whether events flow, and with `?verbose` which part is not ready and why.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::metrics::Exposition;

/// Why the admin server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; set [admin] listen to a free address, or to \"\" for none"
    )]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A part of the daemon, and what keeps it from being ready.
#[derive(Clone, Debug)]
pub struct Part {
    /// `source`, `model` or `sink`.
    pub name: &'static str,
    /// Nothing when it is ready.
    pub trouble: Option<String>,
}

/// What the server asks the daemon.
pub trait View: Send + Sync + 'static {
    /// The parts, in the order of the stream.
    fn parts(&self) -> Vec<Part>;
}

struct Shared {
    exposition: Exposition,
    view: Arc<dyn View>,
}

/// A socket that listens; taken before the daemon starts, so that a taken port is an error at once.
#[derive(Debug)]
pub struct Listener(std::net::TcpListener);

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    /// When it cannot be listened on.
    pub fn bind(address: SocketAddr) -> Result<Self, AdminError> {
        let bound = std::net::TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(Self(listener))
        });
        bound.map_err(|source| AdminError::Bind { address, source })
    }

    /// The address it listens on, with the port that the system chose for port 0.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.local_addr().ok()
    }
}

/// Serves until `end` is done.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(
    listener: Listener,
    exposition: Exposition,
    view: Arc<dyn View>,
    end: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener.0)?;
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Arc::new(Shared { exposition, view }));
    axum::serve(listener, routes).with_graceful_shutdown(end).await
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, shared.exposition.text()).into_response()
}

async fn ready(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let parts = shared.view.parts();
    let troubled = parts.iter().any(|part| part.trouble.is_some());
    let status = if troubled { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let verbose = query.is_some_and(|query| query.split('&').any(|word| word.starts_with("verbose")));
    let lines = parts.iter().filter(|part| verbose || part.trouble.is_some()).map(|part| {
        let sign = if part.trouble.is_some() { '-' } else { '+' };
        format!("[{sign}] {}: {}\n", part.name, part.trouble.as_deref().unwrap_or("ok"))
    });
    let mut text: String = lines.collect();
    if !troubled {
        text.push_str("ok\n");
    }
    (status, text).into_response()
}
