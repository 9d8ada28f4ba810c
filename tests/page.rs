//! The status page of a running daemon, in a real browser: what it shows is what the daemon said, whatever the stream says.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{ChildStdin, Stdio};

use serde_json::Value;

use crate::browser::Browser;
use crate::client::{self, Daemon};
use crate::shutdown::{ask, get};

/// What somebody may have written into a log, in the hope that a person reads it in a browser.
const HOSTILE: &str = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> &lt;b&gt; kernel panic";

/// A daemon that reads a pipe, which stays open.
struct Watched {
    daemon: Daemon,
    pipe: ChildStdin,
    lines: Box<dyn Iterator<Item = String>>,
    port: u16,
    written: usize,
}

impl Watched {
    fn start(port: u16) -> Self {
        let listen = format!("admin.listen=127.0.0.1:{port}");
        let sets = ["detect.warmup=400", "render.infer_events=100", "alert.budget=1 in 300", &listen];
        let mut arguments = ["run", "--source", "stdin", "--sink", "stdout"].map(str::to_owned).to_vec();
        arguments.extend(sets.iter().flat_map(|set| ["--set".to_owned(), (*set).to_owned()]));
        let mut daemon = Daemon::start_with(&arguments, Stdio::piped(), Stdio::piped());
        let pipe = daemon.child().stdin.take().unwrap();
        let lines = Box::new(daemon.lines());
        client::wait_for("the page", || get(port, "/").filter(|(status, _)| status.contains("200")));
        Self { daemon, pipe, lines, port, written: 0 }
    }

    /// Writes so many ordinary lines.
    fn write(&mut self, lines: usize) {
        for _ in 0..lines {
            let (number, user) = (self.written, self.written * 7 % 89);
            self.written += 1;
            let line = match number * 7 % 3 {
                0 => format!("user {user} signed in after {} ms", 3 + number * 31 % 40),
                1 => format!("GET /cart/{user} answered in {} ms", 3 + number * 31 % 40),
                _ => format!("cache refreshed in {} ms", 3 + number * 31 % 40),
            };
            writeln!(self.pipe, "{line}").unwrap();
        }
        self.pipe.flush().unwrap();
    }

    /// Writes lines that have not been seen before, and waits for their alerts.
    fn alert(&mut self, lines: &[&str]) -> Vec<Value> {
        for line in lines {
            writeln!(self.pipe, "{line}").unwrap();
            self.written += 1;
        }
        self.pipe.flush().unwrap();
        let last = (self.written - 1) as u64;
        let mut alerts = Vec::new();
        for line in self.lines.by_ref() {
            let alert: Value = serde_json::from_str(&line).unwrap();
            let offset = alert["outlierd"]["source"]["offset"].as_u64();
            alerts.push(alert);
            if offset == Some(last) {
                return alerts;
            }
        }
        panic!("no alert of line {last}: {alerts:?}");
    }

    fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Whether the page says that all is ready, be there alerts or not.
const WARM: &str = "['well', 'told'].some(kind => document.querySelector('#state').classList.contains(kind))";

/// What the page shows of each alert: reason, score, place.
const SHOWN: &str = r"Array.from(document.querySelectorAll('#alerts li'), li => [
  li.querySelector('.why').textContent, li.querySelector('.score').textContent,
  li.querySelector('.meta:last-child').firstChild.textContent])";

/// What an alert should look like there.
fn shown(alert: &Value) -> Value {
    let outlierd = &alert["outlierd"];
    let source = &outlierd["source"];
    let place =
        format!("{}[{}]@{}", source["topic"].as_str().unwrap(), source["partition"], source["offset"]);
    serde_json::json!([alert["message"], format!("{:.1}", outlierd["surprise"].as_f64().unwrap()), place])
}

/// The least contrast of all that is written on the page, against what is behind it (WCAG 2.2, 1.4.3), and where.
const CONTRAST: &str = r"(() => {
  const parts = color => { const n = color.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const behind = element => { for (; element; element = element.parentElement) {
    const color = parts(getComputedStyle(element).backgroundColor); if (color[3] > 0) return color; } return [255, 255, 255, 1]; };
  let least = [99, ''];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; text = walk.nextNode();) {
    const element = text.parentElement, box = element.getBoundingClientRect(), style = getComputedStyle(element);
    if (!text.data.trim() || box.width < 2 || style.visibility === 'hidden' || element.closest('script, style, noscript')) continue;
    const ink = light(parts(element.namespaceURI.endsWith('svg') ? style.fill : style.color)), ground = light(behind(element));
    const ratio = (Math.max(ink, ground) + .05) / (Math.min(ink, ground) + .05);
    if (ratio < least[0]) least = [ratio, text.data.trim()];
  }
  return least;
})()";

/// The page as it should be on every screen: it fits, it can be read, and light and dark differ.
fn looks_well(browser: &Browser) {
    let mut grounds = BTreeSet::new();
    for (width, height) in [(390, 844), (320, 568), (1_280, 900)] {
        for scheme in ["light", "dark"] {
            browser.show_on(width, height, scheme);
            browser.wait_until(&format!("matchMedia('(prefers-color-scheme: {scheme})').matches"));
            browser.wait_until("!document.querySelector('svg') || document.querySelector('svg').viewBox.baseVal.width <= innerWidth");
            let wide = browser.value("[document.documentElement.scrollWidth, innerWidth]");
            assert!(wide[0].as_u64() <= wide[1].as_u64(), "{width} {scheme}: wider than the screen: {wide}");
            let least = browser.value(CONTRAST);
            assert!(least[0].as_f64().unwrap() >= 4.5, "{width} {scheme}: hard to read: {least}");
            grounds.insert(browser.text("getComputedStyle(document.body).backgroundColor"));
        }
    }
    assert_eq!(grounds.len(), 2, "light and dark: {grounds:?}");
}

/// Nothing was asked of anybody but the daemon, and nothing went wrong.
fn kept_to_itself(browser: &Browser, origin: &str) {
    let asked = browser.events("Network.requestWillBeSent");
    let addresses: Vec<&str> = asked.iter().map(|event| event["request"]["url"].as_str().unwrap()).collect();
    assert!(addresses.iter().any(|address| address.contains("/status.json")), "{addresses:?}");
    let own =
        |address: &&&str| address.starts_with(&format!("{origin}/")) || address.starts_with("data:image/svg");
    assert_eq!(addresses.iter().filter(|address| !own(address)).count(), 0, "{addresses:?}");
    for kind in ["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"] {
        assert_eq!(browser.events(kind), Vec::<Value>::new());
    }
}

#[test]
fn the_page_shows_what_the_daemon_said_and_hostile_text_as_text() {
    let mut watched = Watched::start(client::free_port());
    let browser = Browser::start();
    browser.open(&format!("{}/", watched.origin()));
    browser.wait_until("document.querySelector('#alerts-none').textContent.includes('No alerts yet')");
    looks_well(&browser);
    watched.write(300);
    browser.wait_until("document.querySelector('#state .what').textContent === 'Warming up, 75 %'");
    let none = browser.text("document.querySelector('#alerts-none').textContent");
    assert_eq!(none, "No alerts yet: warming up, 75 %.");
    assert_eq!(browser.value("document.querySelector('progress').value"), 0.75);
    watched.write(700);
    browser.wait_until(WARM);

    let mut alerts = watched.alert(&[HOSTILE]);
    watched.write(300);
    alerts.extend(watched.alert(&["segfault in libcrypto at 0x0, core dumped by the supervisor"]));
    browser.wait_until(&format!("document.querySelectorAll('#alerts li').length === {}", alerts.len()));
    let newest_first: Vec<Value> = alerts.iter().rev().map(shown).collect();
    assert_eq!(browser.value(SHOWN), Value::from(newest_first));
    let hostile = browser.text("document.querySelector('#alerts').textContent");
    assert!(hostile.contains("<script>document.title='owned'</script><img src=x"), "{hostile}");
    assert_eq!(
        browser.value("document.querySelectorAll('#alerts script, #alerts img, #alerts b').length"),
        0
    );
    let title = browser.text("document.title");
    assert!(title.ends_with("outlierd") && !title.contains("owned"), "{title}");

    // The same numbers elsewhere on the page.
    let tile = |name: &str| {
        let of = format!(
            "Array.from(document.querySelectorAll('#tiles .card')).find(card => card.textContent.startsWith({name:?}))"
        );
        browser.text(&format!("{of}.querySelector('.big').textContent"))
    };
    assert_eq!(tile("Alerts"), alerts.len().to_string());
    assert_eq!(tile("May alert"), "1 of 1 partition");
    assert_eq!(tile("Dead letters"), "0");
    assert!(
        browser.text("document.querySelector('#tiles').textContent").contains("1\u{202f}302 events judged")
    );
    let state = browser.text("document.querySelector('#state').textContent");
    assert!(
        state.contains(&format!("{} alerts in the last 15 minutes", alerts.len()))
            && state.contains(alerts.last().unwrap()["message"].as_str().unwrap()),
        "{state}"
    );
    assert!(browser.text("document.querySelector('#lanes').textContent").contains("stdin[0]"));

    // The chart has what is over the line, the line, and the same in words.
    for mark in ["#scores .bar.over", "#scores circle.mark", "#scores path.line", "#flow .flow"] {
        assert_ne!(browser.value(&format!("document.querySelectorAll({mark:?}).length")), 0, "{mark}");
    }
    let words = browser.text("document.querySelector('#scores svg').getAttribute('aria-label')");
    assert!(
        words.contains(&format!("{} incidents", alerts.len())) && words.contains("the threshold was"),
        "{words}"
    );
    looks_well(&browser);
    kept_to_itself(&browser, &watched.origin());
}

#[test]
fn the_page_works_by_keys_and_says_when_it_is_out_of_date() {
    let port = client::free_port();
    let mut watched = Watched::start(port);
    let browser = Browser::start();
    browser.open(&format!("{}/", watched.origin()));
    watched.write(600);
    browser.wait_until(WARM);
    // Another span, and a place on the chart, without a pointer.
    browser.value("document.querySelector('input[value=\"1h\"]').focus()");
    browser.value("document.querySelector('input[value=\"1h\"]').click()");
    browser.wait_until("document.querySelector('#scores-text').textContent.includes('last hour')");
    browser.value("document.querySelector('#scores svg').focus()");
    for (key, code) in [("ArrowLeft", 37), ("Home", 36)] {
        let press =
            serde_json::json!({"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code});
        browser.ask("Input.dispatchKeyEvent", &press);
    }
    browser.wait_until("/surprise [\\d.]+ nats/.test(document.querySelector('#scores-text').textContent)");

    assert!(watched.daemon.stop().success());
    drop(watched);
    browser.wait_until("document.querySelector('#state .what').textContent === 'Cannot reach the daemon'");
    browser.wait_until("document.body.classList.contains('stale')");
    let state = browser.text("document.querySelector('#state .more').textContent");
    assert!(state.contains("out of date"), "{state}");
    looks_well(&browser);
    let _again = Watched::start(port);
    browser.wait_until("!document.body.classList.contains('stale')");
}

#[test]
fn only_what_there_is_answers_and_only_to_who_may_ask() {
    let watched = Watched::start(client::free_port());
    let say =
        |line: &str, host: &str| ask(watched.port, &format!("{line} HTTP/1.1\r\nHost: {host}\r\n")).unwrap();
    let status = |line: &str, host: &str| say(line, host).0.split(' ').nth(1).unwrap().to_owned();
    let local = format!("localhost:{}", watched.port);
    for path in ["/", "/status.json?span=24h", "/metrics", "/livez", "/readyz?verbose"] {
        assert_eq!(status(&format!("GET {path}"), &local), "200", "{path}");
        let (head, body) = say(&format!("HEAD {path}"), &local);
        assert!(head.contains(" 200 ") && body.is_empty(), "{path}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            assert_eq!(status(&format!("{method} {path}"), &local), "405", "{method} {path}");
        }
    }
    for path in ["/index.html", "/status", "/../etc/passwd", "//", "/metrics/"] {
        assert_eq!(status(&format!("GET {path}"), &local), "404", "{path}");
    }
    // A name that somebody else has pointed at this machine.
    for path in ["/", "/status.json"] {
        assert_eq!(status(&format!("GET {path}"), "rebound.example"), "421", "{path}");
    }
    assert_eq!(status("GET /metrics", "outlierd.example"), "200");

    let head = say("GET /", &local).0.to_ascii_lowercase();
    for part in ["default-src 'none'", "script-src 'sha256-", "frame-ancestors 'none'", "nosniff", "no-store"]
    {
        assert!(head.contains(part), "{part}: {head}");
    }
    let said: Value = serde_json::from_str(&say("GET /status.json?span=24h", &local).1).unwrap();
    assert_eq!(said["history"]["span"], "24h");
    assert_eq!(said["about"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(said["parts"].as_array().unwrap().len(), 3);
}
