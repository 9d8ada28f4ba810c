//! The status page, `/metrics`, `/livez` and `/readyz` over HTTP.
//!
//! `/livez` says that the process runs: it must never fail because a broker is away, or an orchestrator would restart
//! what a restart cannot mend. `/readyz` says whether events flow, and with `?verbose` which part is not ready and why.
//! The page at `/` shows a person what `/status.json` says, texts of the stream among it: what listens on this machine alone
//! gives that to nobody who reached it under a name of his own (DNS rebinding). Nothing here changes anything.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::metrics::Exposition;
use status::{Span, Status};

mod page;
pub mod status;

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

    /// All there is to show, with so much of the past.
    fn status(&self, span: Span) -> Status;
}

struct Shared {
    exposition: Exposition,
    view: Arc<dyn View>,
    /// Whether it is reached from this machine only.
    loopback: bool,
    policy: String,
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
    let loopback = listener.address().is_some_and(|address| address.ip().is_loopback());
    let listener = tokio::net::TcpListener::from_std(listener.0)?;
    let routes = Router::new()
        .route("/", get(page))
        .route("/status.json", get(state))
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(|| async { (StatusCode::NOT_FOUND, PATHS) })
        .with_state(Arc::new(Shared { exposition, view, loopback, policy: page::policy() }));
    axum::serve(listener, routes).with_graceful_shutdown(end).await
}

/// What every answer with texts of the stream in it tells a browser.
const CAREFUL: [(header::HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What is said to whoever asks for anything else.
const PATHS: &str = "not found; there are / /status.json /metrics /livez /readyz\n";

async fn page(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if !shared.knows(&headers) {
        return misdirected();
    }
    let kind = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, shared.policy.clone()),
    ];
    (CAREFUL, kind, page::HTML).into_response()
}

async fn state(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    if !shared.knows(&headers) {
        return misdirected();
    }
    let status = shared.view.status(Span::asked(query.as_deref().unwrap_or_default()));
    // Texts, finite numbers and lists of them: nothing in it can fail to be JSON.
    let body = serde_json::to_string(&status).unwrap_or_default();
    (CAREFUL, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn misdirected() -> Response {
    let said = "this listens on the loopback address and answers to localhost or an IP address only\n";
    (StatusCode::MISDIRECTED_REQUEST, said).into_response()
}

impl Shared {
    /// Whether the request names us as somebody on this machine would.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(header::HOST).filter(|_| self.loopback) else { return true };
        host.to_str().is_ok_and(is_local)
    }
}

/// Whether a `Host` is an address, or a name that only ever means this machine (RFC 6761).
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let name = name.to_ascii_lowercase();
    address.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_told_from_others() {
        for host in [
            "127.0.0.1:9464",
            "localhost",
            "LOCALHOST:1",
            "a.localhost:80",
            "[::1]:9464",
            "[::1]",
            "10.0.0.1",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in ["evil.example:9464", "localhost.evil.example", "127.0.0.1.nip.example", "", "evil:host"]
        {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn a_query_names_a_span() {
        assert_eq!(Span::asked("x=1&span=1h"), Span::Hour);
        assert_eq!(Span::asked("span=24h&span=1h"), Span::Day);
        for query in ["", "span=", "span=9y", "spam=1h"] {
            assert_eq!(Span::asked(query), Span::Minutes, "{query}");
        }
        for span in Span::ALL {
            assert_eq!(Span::ALL[span.place()], span);
        }
    }
}
