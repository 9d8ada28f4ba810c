//! Which proxy leads to a host, by the variables that other programs follow too.
//!
//! A variable that counts and is not understood ends the pull: to go direct instead would show the request to a network
//! that it was to be kept from. What it holds may be a password, which must never be shown.

use std::fmt;
use std::net::IpAddr;

/// What is understood of the variables, for people.
const UNDERSTOOD: &str = "http://HOST:PORT or https://HOST:PORT, with USER:PASSWORD@ (percent-encoded) before HOST \
                              where the proxy asks for them";

/// The proxies of an environment.
#[derive(Default)]
pub(super) struct Proxies {
    /// Variables that are set, with what they hold.
    variables: Vec<(String, String)>,
    direct: Vec<Direct>,
    /// Entries of `NO_PROXY` that are not understood.
    strange: Vec<String>,
}

/// A proxy, and the variable that names it.
pub(super) struct Proxy {
    variable: String,
    url: String,
}

/// Hosts that are reached without a proxy.
#[derive(Debug, PartialEq, Eq)]
enum Direct {
    Everything,
    /// This host; at this port, where one is named.
    Host(String, Option<u16>),
    /// Every host whose name ends so, after a dot.
    Under(String, Option<u16>),
    /// Addresses that begin with so many of these bits.
    Network(IpAddr, u32),
}

impl Proxies {
    /// Reads this process's environment.
    pub(super) fn of_process() -> Self {
        // What is no text has a sign in it that no address may hold.
        Self::of(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn of(read: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| {
            let names = [name.to_owned(), name.to_ascii_lowercase()];
            let mut values =
                names.into_iter().filter_map(|name| Some((read(&name)?.trim().to_owned(), name)));
            values.find(|(value, _)| !value.is_empty()).map(|(value, name)| (name, value))
        };
        let variables = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"].into_iter().filter_map(set).collect();
        let mut proxies = Self { variables, ..Self::default() };
        let (_, list) = set("NO_PROXY").unwrap_or_default();
        for entry in list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()) {
            match direct(&entry.to_ascii_lowercase()) {
                Some(direct) => proxies.direct.push(direct),
                None => proxies.strange.push(entry.escape_debug().to_string()),
            }
        }
        proxies
    }

    /// What to tell the operator of `NO_PROXY`, where it matters.
    pub(super) fn warning(&self) -> Option<String> {
        (!self.variables.is_empty() && !self.strange.is_empty()).then(|| {
            format!(
                "passed over in NO_PROXY: {}; understood are HOST, HOST:PORT, .SUFFIX, ADDRESS, ADDRESS/BITS and *",
                self.strange.join(", ")
            )
        })
    }

    /// The proxy that leads to a host; none where it is reached directly.
    ///
    /// # Errors
    /// When the variable that names it is not understood.
    pub(super) fn to(&self, scheme: &str, host: &str, port: u16) -> Result<Option<Proxy>, String> {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        if self.direct.iter().any(|direct| direct.covers(&host, port)) {
            return Ok(None);
        }
        let own = format!("{scheme}_proxy");
        let named = |wanted: &str| self.variables.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let Some((variable, value)) = named(&own).or_else(|| named("all_proxy")) else { return Ok(None) };
        let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
        let scheme = scheme.to_ascii_lowercase();
        let proxy = Proxy { variable: variable.clone(), url: format!("{scheme}://{rest}") };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let sound = rest.bytes().all(|byte| byte.is_ascii_graphic())
            && !user.contains('@')
            && !rest.contains(['/', '?', '#', '\\'])
            && place_of(place).is_some();
        let spoken = scheme == "http" || scheme == "https" && cfg!(feature = "tls");
        if sound && spoken { Ok(Some(proxy)) } else { Err(proxy.misunderstood()) }
    }
}

impl Proxy {
    /// Its address, with the password.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The variable that names it.
    pub(super) fn variable(&self) -> &str {
        &self.variable
    }

    /// That it is of no kind that can be used.
    pub(super) fn misunderstood(&self) -> String {
        format!(
            "{} is not understood: {}; it may be {UNDERSTOOD}; hosts in NO_PROXY are reached without it",
            self.variable,
            self.redacted()
        )
    }

    fn redacted(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or_default();
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let shown = match rest.rsplit_once('@') {
            Some((_, place)) => format!("{scheme}://***@{place}"),
            None => format!("{scheme}://{rest}"),
        };
        shown.escape_debug().to_string()
    }
}

/// As it may be read by anybody.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {} ({})", self.redacted(), self.variable)
    }
}

impl Direct {
    fn covers(&self, host: &str, port: u16) -> bool {
        let here = |asked: &Option<u16>| asked.is_none_or(|asked| asked == port);
        let address = host.parse::<IpAddr>().ok();
        match self {
            Self::Everything => true,
            Self::Host(name, asked) => {
                let same = name == host || address.is_some() && name.parse::<IpAddr>().ok() == address;
                same && here(asked)
            }
            Self::Under(suffix, asked) => {
                let above = host.strip_suffix(suffix.as_str());
                above.is_some_and(|above| above.len() > 1 && above.ends_with('.')) && here(asked)
            }
            Self::Network(network, bits) => address.is_some_and(|address| within(address, *network, *bits)),
        }
    }
}

fn direct(entry: &str) -> Option<Direct> {
    if entry == "*" {
        return Some(Direct::Everything);
    }
    if let Some((network, bits)) = entry.split_once('/') {
        let network: IpAddr = network.trim_matches(['[', ']']).parse().ok()?;
        let bits = bits.parse().ok().filter(|bits| *bits <= if network.is_ipv4() { 32 } else { 128 })?;
        return Some(Direct::Network(network, bits));
    }
    if entry.parse::<IpAddr>().is_ok() {
        return Some(Direct::Host(entry.to_owned(), None));
    }
    match entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.')) {
        Some(suffix) => place_of(suffix).map(|(suffix, port)| Direct::Under(suffix, port)),
        None => place_of(entry).map(|(host, port)| Direct::Host(host, port)),
    }
}

/// Host and port of `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`.
fn place_of(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        (address, port)
    } else {
        let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        let letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let named = !host.trim_matches('.').is_empty() && host.chars().all(letter);
        (named.then(|| host.trim_end_matches('.'))?, port)
    };
    if port.is_empty() {
        return Some((host.to_owned(), None));
    }
    let port = port.strip_prefix(':')?.parse().ok().filter(|port| *port > 0)?;
    Some((host.to_owned(), Some(port)))
}

fn within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (address.to_bits() ^ network.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            (address.to_bits() ^ network.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(set: &[(&str, &str)]) -> Proxies {
        let found = |name: &str| set.iter().find(|(key, _)| *key == name);
        Proxies::of(|name| found(name).map(|(_, value)| (*value).to_owned()))
    }

    fn to(set: &[(&str, &str)], scheme: &str) -> Result<Option<String>, String> {
        let way = proxies(set).to(scheme, "models.example", 443);
        way.map(|proxy| proxy.map(|proxy| proxy.to_string()))
    }

    #[test]
    fn each_scheme_has_its_variable_and_all_proxy_is_for_the_rest() {
        let set = [("HTTPS_PROXY", "http://a:1"), ("http_proxy", "b:2"), ("ALL_PROXY", "socks5://c:3")];
        assert_eq!(to(&set, "https").unwrap().unwrap(), "the proxy http://a:1 (HTTPS_PROXY)");
        assert_eq!(to(&set, "http").unwrap().unwrap(), "the proxy http://b:2 (http_proxy)");
        assert!(
            to(&set[1..], "https").unwrap_err().starts_with("ALL_PROXY is not understood: socks5://c:3; ")
        );
        assert_eq!(to(&set[1..2], "https"), Ok(None));
        assert_eq!(to(&[("HTTPS_PROXY", " "), ("https_proxy", "")], "https"), Ok(None), "empty is not set");
    }

    #[test]
    fn what_is_not_understood_is_refused_without_its_password() {
        for value in [
            "socks5://u:secret@host:1080",
            "socks4://host",
            "socks5h://host:1",
            "ftp://host",
            "http://",
            "http://host:port",
            "http://host:0",
            "http://host:70000",
            "http://u:sec/secret@host:1",
            "http://u:12/secret@host:1",
            "http://u:sec@secret@host:1",
            "http://host:1/path",
            "http://ho st:1",
            "http://[::1:3128",
            "http://h\u{fffd}st:1",
            "http://host\u{1b}[2J:1",
            "://host",
        ] {
            let why = to(&[("HTTPS_PROXY", value)], "https").unwrap_err();
            assert!(why.starts_with("HTTPS_PROXY is not understood: "), "{value}: {why}");
            assert!(why.contains("it may be http://HOST:PORT"), "{value}: {why}");
            assert!(!why.contains("sec") && !why.contains('\u{1b}'), "{value}: {why}");
        }
        let seen = to(&[("HTTPS_PROXY", "HTTP://u:secret@[::1]:3128/")], "https").unwrap().unwrap();
        assert_eq!(seen, "the proxy http://***@[::1]:3128 (HTTPS_PROXY)");
    }

    #[test]
    fn hosts_in_no_proxy_are_reached_directly() {
        for (list, host, port, direct) in [
            ("models.example", "models.example", 443, true),
            ("Models.Example", "MODELS.example.", 443, true),
            ("models.example", "a.models.example", 443, false),
            ("example", "models.example", 443, false),
            (".example", "models.example", 443, true),
            ("*.example", "a.models.example", 443, true),
            (".example", "example", 443, false),
            (".example", "models.counterexample", 443, false),
            ("a, models.example:8443", "models.example", 8443, true),
            ("a models.example:8443", "models.example", 443, false),
            (".example:80", "models.example", 80, true),
            ("*", "models.example", 443, true),
            ("10.0.0.0/8", "10.9.8.7", 80, true),
            ("10.0.0.0/8", "11.0.0.1", 80, false),
            ("10.1.2.3/32", "10.1.2.3", 80, true),
            ("0.0.0.0/0", "10.1.2.3", 80, true),
            ("0.0.0.0/0", "models.example", 80, false),
            ("fd00::/8", "[fd12::1]", 80, true),
            ("fd00::/8", "[fe80::1]", 80, false),
            ("::/0", "10.1.2.3", 80, false),
            ("::1", "[0:0::1]", 80, true),
            ("[::1]:81", "[::1]", 81, true),
            ("[::1]:81", "[::1]", 80, false),
        ] {
            let proxies = proxies(&[("ALL_PROXY", "http://p:1"), ("no_proxy", list)]);
            assert_eq!(proxies.warning(), None, "{list}");
            let way = proxies.to("https", host, port).map(|way| way.is_none());
            assert_eq!(way, Ok(direct), "{list}: {host}:{port}");
        }
        let strange =
            proxies(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", "10.0.*,a/b,10.0.0.0/33,fine,a:b")]);
        let warning = strange.warning().unwrap();
        assert!(warning.starts_with("passed over in NO_PROXY: 10.0.*, a/b, 10.0.0.0/33, a:b; "), "{warning}");
        assert_eq!(strange.direct, [Direct::Host("fine".to_owned(), None)]);
        assert_eq!(proxies(&[("NO_PROXY", "a/b")]).warning(), None, "of no matter without a proxy");
    }
}
