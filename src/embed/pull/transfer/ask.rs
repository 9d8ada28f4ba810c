//! One request for the rest of a file, through redirects and proxies. Redirects are followed here, one at a time, because
//! each of them has to be allowed: never from https to http, never on for ever.

use std::time::Duration;

use ureq::http::response::Parts;
use ureq::http::{HeaderMap, Uri, header};
use ureq::{Agent, Body};

use super::super::address::shown;
use super::super::part::Part;
use super::super::proxy::{Proxies, Proxy};
use super::{Fault, PullError, Settings};

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(15);

/// Asks servers, by one set of settings.
pub(super) struct Asker {
    agent: Agent,
    proxies: Proxies,
    insecure_http: bool,
    redirects_max: u32,
}

/// What a server answered.
pub(super) struct Answer {
    pub(super) head: Parts,
    pub(super) body: Body,
    /// ` through the proxy …`, where it came through one.
    pub(super) through: String,
}

impl Asker {
    pub(super) fn new(settings: &Settings) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("outlierd/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(settings.stall))
            // Chosen for each request: ureq passes over what it does not understand.
            .proxy(None);
        #[cfg(feature = "tls")]
        let config = config.tls_config(
            ureq::tls::TlsConfig::builder()
                .provider(ureq::tls::TlsProvider::NativeTls)
                .root_certs(ureq::tls::RootCerts::PlatformVerifier)
                .build(),
        );
        Self {
            agent: config.build().into(),
            proxies: if settings.proxies { Proxies::of_process() } else { Proxies::default() },
            insecure_http: settings.insecure_http,
            redirects_max: settings.redirects_max,
        }
    }

    /// What the operator should know before anything is asked.
    pub(super) fn warning(&self) -> Option<String> {
        self.proxies.warning()
    }

    /// Asks for the rest of the file, through redirects.
    pub(super) fn ask(&self, url: &str, part: &Part) -> Result<Answer, Fault> {
        let mut at = self.allowed(url, None)?;
        for _ in 0..=self.redirects_max {
            let proxy = self.proxy(&at)?;
            let through = proxy.as_ref().map_or_else(String::new, |(named, _)| format!(" through {named}"));
            let mut request = self.agent.get(at.clone()).header(header::ACCEPT_ENCODING, "identity");
            if let Some(etag) = part.note.etag.as_ref().filter(|_| part.bytes > 0) {
                request = request
                    .header(header::RANGE, format!("bytes={}-", part.bytes))
                    .header(header::IF_RANGE, etag);
            }
            let (named, proxy) = proxy.unzip();
            let request = request.config().proxy(proxy).build();
            let response = request.call().map_err(|error| refused(&at, named.as_ref(), &error))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                let (head, body) = response.into_parts();
                return Ok(Answer { head, body, through });
            }
            let location = text(response.headers(), header::LOCATION.as_str()).ok_or_else(|| {
                let what = format!("{} redirects without saying where to{through}", shown(&at.to_string()));
                Fault::Final(PullError::Wrong(what))
            })?;
            at = self.allowed(&join(&at, &location), Some(&at))?;
        }
        let what = format!("{} redirects more than {} times", shown(url), self.redirects_max);
        Err(Fault::Final(PullError::Wrong(what)))
    }

    /// The proxy that leads to an address.
    fn proxy(&self, at: &Uri) -> Result<Option<(Proxy, ureq::Proxy)>, Fault> {
        let scheme = at.scheme_str().unwrap_or("https");
        let port = at.port_u16().unwrap_or(if scheme == "http" { 80 } else { 443 });
        let asked = |what| Fault::Final(PullError::Asked(what));
        let proxy = self.proxies.to(scheme, at.host().unwrap_or_default(), port).map_err(asked)?;
        let Some(proxy) = proxy else { return Ok(None) };
        let built = ureq::Proxy::new(proxy.url()).map_err(|_secret| asked(proxy.misunderstood()))?;
        Ok(Some((proxy, built)))
    }

    /// The address, if it may be asked.
    fn allowed(&self, url: &str, from: Option<&Uri>) -> Result<Uri, Fault> {
        let from_shown = from.map(|from| shown(&from.to_string()));
        // What a server leads to is its fault; what was named is the operator's.
        let bad = |what: String| match &from_shown {
            Some(from) => Fault::Final(PullError::Wrong(format!(
                "{from} redirects to what cannot be fetched: {what}; name an address of the file itself"
            ))),
            None => Fault::Final(PullError::Asked(what)),
        };
        let seen = shown(url);
        let uri: Uri = url.parse().map_err(|error| bad(format!("not a web address: {seen}: {error}")))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(bad(format!("not a web address: {seen}; begin it with https://")));
        };
        if authority.as_str().contains('@') {
            return Err(bad("an address must not carry a user or password".to_owned()));
        }
        match (scheme, &from_shown) {
            ("https", _) => Ok(uri),
            ("http", Some(shown)) if from.is_some_and(|from| from.scheme_str() == Some("https")) => {
                Err(Fault::Final(PullError::Wrong(format!(
                    "{shown} redirects to plain http: {seen}; it is not followed, for anybody on the way could change \
                     what comes; name an address of the file that stays with https, or a mirror's"
                ))))
            }
            ("http", _) if self.insecure_http || is_loopback(authority.host()) => Ok(uri),
            ("http", Some(from)) => Err(Fault::Final(PullError::Asked(format!(
                "{from} redirects to plain http: {seen}, which is not encrypted; name an https address of the file, or \
                 allow it with --insecure-http"
            )))),
            ("http", None) => {
                Err(bad(format!("{seen} is not encrypted; use https, or allow it with --insecure-http")))
            }
            (other, _) => Err(bad(format!("{other} is not supported: {seen}; use https"))),
        }
    }
}

/// Why no answer came, and whether another try may bring one.
fn refused(at: &Uri, proxy: Option<&Proxy>, error: &ureq::Error) -> Fault {
    let host = at.host().unwrap_or_default();
    let through = proxy.map_or_else(String::new, |proxy| format!(" through {proxy}"));
    // The one error that repeats the address.
    let said = match error {
        ureq::Error::BadUri(_) => "it is no address that can be asked".to_owned(),
        ureq::Error::ConnectProxyFailed(why) => why.split('/').next().unwrap_or_default().to_owned(),
        error => error.to_string().trim_start_matches("io: ").to_owned(),
    };
    let what = format!("cannot ask {host}{through}: {said}");
    let last = |hint: &str| Fault::Final(PullError::Unavailable(format!("{what}; {hint}")));
    let unknown = matches!(error, ureq::Error::HostNotFound)
        || said.contains("lookup address information") && !said.contains("Temporary failure");
    match (error, proxy) {
        (_, Some(proxy)) if unknown => last(&format!("is the proxy's name in {} right?", proxy.variable())),
        (_, None) if unknown => last("where only a proxy leads out, set HTTPS_PROXY"),
        (_, None) if said.contains("lookup address information") => {
            Fault::Again(format!("{what}; is there a network? where only a proxy leads out, set HTTPS_PROXY"))
        }
        (ureq::Error::ConnectProxyFailed(_), Some(proxy)) if said.ends_with("407") => last(&format!(
            "it asks for a user and password: set {} to http://USER:PASSWORD@HOST:PORT",
            proxy.variable()
        )),
        (ureq::Error::ConnectProxyFailed(_), Some(_)) if said.contains("responded 4") => {
            last("it does not let this host through; ask its operator, or name the host in NO_PROXY")
        }
        _ if said.to_ascii_lowercase().contains("certificate") => {
            last("where a proxy has a certificate of its own, name its file in SSL_CERT_FILE")
        }
        (
            ureq::Error::Io(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::ConnectionFailed
            | ureq::Error::Protocol(_)
            | ureq::Error::ConnectProxyFailed(_),
            _,
        ) => Fault::Again(what),
        _ => Fault::Final(PullError::Unavailable(what)),
    }
}

pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Where a redirect leads (RFC 3986, section 5.2, as far as servers use it).
fn join(base: &Uri, location: &str) -> String {
    let scheme = base.scheme_str().unwrap_or("https");
    let authority = base.authority().map_or("", |authority| authority.as_str());
    if location.contains("://") && !location.starts_with(['/', '?']) {
        return location.to_owned();
    }
    if location.starts_with("//") {
        return format!("{scheme}:{location}");
    }
    if location.starts_with('/') {
        return format!("{scheme}://{authority}{location}");
    }
    let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{scheme}://{authority}{folder}/{location}")
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(url: &str, from: Option<&str>) -> Result<(), String> {
        let settings = Settings::default();
        let from = from.map(|from| from.parse().unwrap());
        match Asker::new(&settings).allowed(url, from.as_ref()) {
            Ok(_) => Ok(()),
            Err(Fault::Final(error)) => Err(error.to_string()),
            Err(Fault::Again(why)) => panic!("{why}"),
        }
    }

    #[test]
    fn only_what_is_encrypted_or_stays_here_is_asked() {
        assert_eq!(checked("https://host/a", None), Ok(()));
        for here in ["http://localhost:1/a", "http://127.0.0.9/a", "http://[::1]:2/a"] {
            assert_eq!(checked(here, None), Ok(()), "{here}");
        }
        for (url, why) in [
            ("http://host/a", "not encrypted"),
            ("http://127.0.0.1.example/a", "not encrypted"),
            ("ftp://host/a", "not supported"),
            ("https://user:word@host/a", "must not carry"),
            ("host/a", "not a web address"),
            ("", "not a web address"),
        ] {
            let said = checked(url, None).unwrap_err();
            assert!(said.contains(why), "{url}: {said}");
        }
        let said = checked("http://127.0.0.1/a?c", Some("https://host/b?d")).unwrap_err();
        assert!(
            said.starts_with("https://host/b redirects to plain http: http://127.0.0.1/a; it is not"),
            "{said}"
        );
        let said = checked("http://host/a?c", Some("http://[::1]/b")).unwrap_err();
        assert!(said.contains("redirects to plain http: http://host/a, which is not encrypted"), "{said}");
        let said = checked("file:///a", Some("https://host/b")).unwrap_err();
        assert!(said.starts_with("https://host/b redirects to what cannot be fetched: not a web"), "{said}");
    }

    #[test]
    fn redirects_lead_where_servers_mean() {
        let base: Uri = "https://host:8/a/b?c=d".parse().unwrap();
        for (location, url) in [
            ("https://other/x", "https://other/x"),
            ("//other/x", "https://other/x"),
            ("/x?y=https://z", "https://host:8/x?y=https://z"),
            ("x", "https://host:8/a/x"),
        ] {
            assert_eq!(join(&base, location), url);
        }
    }
}
