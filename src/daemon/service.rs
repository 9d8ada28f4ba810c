//! What runs beside the stream: signals, the admin server, the metrics that nobody pushes, what the service manager is
//! told, the log.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use super::board::Board;
use super::notify::Notifier;
use super::{Error, Progress, Stop, status, wall_clock};
use crate::admin::status::{About, Span, Status};
use crate::admin::{self, Part, View};
use crate::config::LogConfig;
use crate::{metrics, sink, source};

/// How often the states of source and sink become metrics.
const EXPORT: Duration = Duration::from_secs(1);

/// The states that are watched.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) source: Arc<source::Status>,
    pub(super) sink: Arc<sink::Status>,
    pub(super) board: Board,
    pub(super) progress: Arc<Progress>,
    pub(super) about: About,
}

impl View for Watched {
    fn parts(&self) -> Vec<Part> {
        let report = self.source.report();
        let waiting = |ready: bool, trouble: Option<String>, else_say: &str| {
            (!ready).then(|| trouble.unwrap_or_else(|| else_say.to_owned()))
        };
        vec![
            Part { name: "source", trouble: waiting(report.connected, report.error, "not connected yet") },
            // The model is ready before anything else starts.
            Part { name: "model", trouble: None },
            Part {
                name: "sink",
                trouble: waiting(self.sink.ready(), self.sink.trouble(), "not connected yet"),
            },
        ]
    }

    fn status(&self, span: Span) -> Status {
        status::status(self, span, wall_clock())
    }
}

impl Watched {
    fn export(&self) {
        for part in self.parts() {
            metrics::ready(part.name, part.trouble.is_none());
        }
        let (report, now) = (self.source.report(), wall_clock());
        for (lane, report) in &report.lanes {
            let seconds = self.board.lag(lane, report.lag(), now);
            metrics::lag(&lane.topic, lane.partition, report.lag(), seconds);
        }
        metrics::source([report.commits, report.commit_failures, report.rebalances], report.paused);
        metrics::sink(self.sink.published(), self.sink.rejected(), self.sink.waiting());
        let About { version, model, provider, started, .. } = &self.about;
        metrics::about(version, model, provider, *started as f64 / 1e3);
    }
}

/// The service's thread.
pub(super) struct Service {
    end: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Service {
    pub(super) fn start(
        listener: Option<admin::Listener>,
        exposition: metrics::Exposition,
        mut notifier: Notifier,
        stop: &Stop,
        watched: &Watched,
    ) -> Result<Self, Error> {
        let (end, ended) = oneshot::channel();
        if let Some(address) = listener.as_ref().and_then(admin::Listener::address) {
            tracing::info!(%address, "admin server listens");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Error::Internal(format!("cannot start the service: {error}")))?;
        let (told, view) = (stop.clone(), watched.clone());
        let thread = super::spawn("service", stop, move || {
            runtime.block_on(async move {
                let outcome = tokio::select! {
                    () = async { ended.await.unwrap_or(()) } => Ok(()),
                    error = signals(&told) => Err(error),
                    error = serve(listener, exposition.clone(), view.clone()) => Err(error),
                    () = export(&view, &exposition) => Ok(()),
                    () = notify(&mut notifier, &told, &view) => Ok(()),
                };
                // A stream that ended by itself was not told to stop before.
                notifier.tell(true, None);
                outcome
            })
        })?;
        Ok(Self { end, thread })
    }

    pub(super) fn end(self) {
        if self.end.send(()).is_ok()
            && let Err(error) = super::leave(self.thread, "the service", &mut Duration::from_secs(1))
        {
            tracing::warn!(%error, "service left behind");
        }
    }
}

async fn export(watched: &Watched, exposition: &metrics::Exposition) {
    let mut pulse = tokio::time::interval(EXPORT);
    loop {
        pulse.tick().await;
        watched.export();
        exposition.settle();
    }
}

async fn notify(notifier: &mut Notifier, stop: &Stop, watched: &Watched) {
    let mut pulse = tokio::time::interval(notifier.tick());
    loop {
        pulse.tick().await;
        let troubled = watched.parts().into_iter().find_map(|part| Some((part.name, part.trouble?)));
        let trouble = troubled.map(|(name, trouble)| format!("{name}: {trouble}"));
        notifier.tell(stop.is_set(), trouble.as_deref());
    }
}

async fn serve(listener: Option<admin::Listener>, exposition: metrics::Exposition, view: Watched) -> Error {
    if let Some(listener) = listener
        && let Err(error) =
            admin::serve(listener, exposition, Arc::new(view), std::future::pending::<()>()).await
    {
        return Error::Unavailable(format!("admin server: {error}"));
    }
    std::future::pending().await
}

/// The first signal drains, the second forces. Returns only when signals cannot be had.
async fn signals(stop: &Stop) -> Error {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return Error::Internal("cannot listen for signals".to_owned());
    };
    loop {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        if stop.is_set() {
            tracing::warn!("second signal: leaving at once; what is not committed is judged again");
            // 128 + SIGTERM, as a shell reports a process that the signal ended.
            std::process::exit(143);
        }
        tracing::info!("signal: draining; a second one forces");
        stop.set();
    }
}

/// Sends the log to standard error; the first call of a process counts.
pub fn log(config: &LogConfig) {
    use std::io::IsTerminal as _;
    let filter = EnvFilter::try_new(&config.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let text = config.text.unwrap_or_else(|| std::io::stderr().is_terminal());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = if text {
        builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    if installed.is_err() {
        tracing::debug!("the log was set up before");
    }
}
