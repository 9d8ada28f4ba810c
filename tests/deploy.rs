//! What stands in `deploy/`, held against the daemon: names of metrics and settings, ports, paths, times, hardening.
//!
//! No container is built here, and no service started: that is `systemd.rs`. `systemd-analyze` and `promtool` are asked where they are installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use outlierd::metrics::catalogue::ALL;
use serde_json::Value;

use crate::client::{self, Daemon};

/// Longest that draining may take beyond `kafka.shutdown_timeout`, seconds.
const LEAVE: u64 = 8;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files of `deploy/`, as paths from the root.
fn files() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if root().join(&path).is_dir() {
                folders.push(path);
            } else {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// The words of a text that begin so.
fn words(text: &str, start: &str) -> BTreeSet<String> {
    let word = |(at, _): (usize, &str)| {
        text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>()
    };
    let inside = |at: usize| text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    text.match_indices(start).filter(|(at, _)| !inside(*at)).map(word).collect()
}

/// Every string below a key of that name.
fn strings_at(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if let (true, Some(text)) = (name == key, member.as_str()) {
                    found.push(text.to_owned());
                }
                strings_at(member, key, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| strings_at(item, key, found)),
        _ => {}
    }
}

/// The defaults by `section.key`, as written.
fn defaults() -> BTreeMap<String, String> {
    let (mut section, mut found) = (String::new(), BTreeMap::new());
    for line in read("config/default.toml").lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            found.insert(format!("{section}.{key}"), value.trim_matches('"').to_owned());
        }
    }
    found
}

fn port() -> String {
    defaults()["admin.listen"].rsplit(':').next().unwrap().to_owned()
}

fn seconds(text: &str) -> u64 {
    text.trim_end_matches('s').parse().unwrap()
}

/// Seconds that a stop may take before the daemon has to be gone.
fn grace() -> u64 {
    seconds(&defaults()["kafka.shutdown_timeout"]) + LEAVE
}

fn outlierd(environment: &[(String, String)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlierd"));
    command.args(arguments).envs(environment.iter().cloned()).stdin(Stdio::null()).output().unwrap()
}

/// What a tool says, where it is installed.
fn tool(name: &str, arguments: &[&str]) -> Option<Output> {
    let output = Command::new(name).args(arguments).current_dir(root()).output();
    if output.is_err() {
        println!("skipped: {name} is not installed");
    }
    output.ok()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn every_file_parses() {
    let mut seen = 0;
    for path in files() {
        match path.rsplit('.').next() {
            Some("yml" | "yaml") => assert!(yaml(&path).is_object(), "{path}"),
            Some("json") => {
                assert!(serde_json::from_str::<Value>(&read(&path)).unwrap().is_object(), "{path}");
            }
            _ => continue,
        }
        seen += 1;
    }
    assert!(seen >= 11, "{seen}");
}

#[test]
fn dashboards_and_rules_name_only_metrics_that_there_are() {
    let known: BTreeSet<String> = ALL.iter().map(|metric| metric.name.to_owned()).collect();
    assert!(known.len() > 15, "{known:?}");
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/outlierd.json")).unwrap();
    let mut asked = Vec::new();
    for value in [&dashboard, &yaml("deploy/prometheus/rules.yml"), &yaml("deploy/prometheus/rules_test.yml")]
    {
        let before = asked.len();
        for key in ["expr", "query", "series"] {
            strings_at(value, key, &mut asked);
        }
        assert!(asked.len() > before + 5, "nothing is asked");
    }
    for expression in &asked {
        for name in words(expression, "outlierd_") {
            // The parts of a histogram.
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
            let exists = known.contains(&name) || base.is_some_and(|base| known.contains(base));
            assert!(exists, "{name} in {expression:?} is not exported");
        }
    }
    let shown: BTreeSet<String> =
        asked.iter().flat_map(|expression| words(expression, "outlierd_")).collect();
    assert!(shown.len() > 15, "{shown:?}");
}

#[test]
fn rules_say_what_to_do_and_promtool_agrees() {
    let rules = yaml("deploy/prometheus/rules.yml");
    let tests = read("deploy/prometheus/rules_test.yml");
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 6);
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(rule["for"].is_string() && rule["annotations"]["summary"].is_string(), "{name}");
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        assert!(
            tests.matches(&format!("alertname: {name}\n")).count() >= 2,
            "{name} is not tested both ways"
        );
    }
    let (check, test) = (
        ["check", "config", "deploy/prometheus/prometheus.yml"],
        ["test", "rules", "deploy/prometheus/rules_test.yml"],
    );
    for arguments in [check, test] {
        if let Some(output) = tool("promtool", &arguments) {
            assert!(output.status.success(), "{}", said(&output));
        }
    }
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/outlierd.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "an id is there twice");
    let mut taken = BTreeSet::new();
    for panel in panels {
        assert!(
            !panel["title"].as_str().unwrap().is_empty()
                && !panel["description"].as_str().unwrap().is_empty()
        );
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for (x, y) in
            (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(x < 24 && taken.insert((x, y)), "panels overlap at {x}, {y}: {}", panel["title"]);
        }
    }
}

#[test]
fn variables_are_settings_and_configurations_are_valid() {
    let defaults = defaults();
    let mut named = 0;
    for path in files() {
        let variables =
            words(&read(&path), "OUTLIERD_").into_iter().filter(|name| name != "OUTLIERD_SECTION__KEY");
        for name in variables {
            let key = name.trim_start_matches("OUTLIERD_").to_lowercase().replace("__", ".");
            assert!(defaults.contains_key(&key), "{path}: {name} sets nothing");
            named += 1;
        }
    }
    assert!(named >= 5, "{named}");
    for path in ["deploy/outlierd.toml", "deploy/kubernetes/outlierd.toml"] {
        let output =
            outlierd(&[], &["validate", "--no-environment", "-c", &root().join(path).to_string_lossy()]);
        assert!(output.status.success(), "{path}: {}", said(&output));
    }
    let compose = yaml("deploy/compose.yaml");
    let environment = compose["services"]["outlierd"]["environment"].as_object().unwrap();
    let environment: Vec<(String, String)> =
        environment.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
    let output = outlierd(&environment, &["validate", "--no-environment"]);
    assert!(output.status.success(), "compose.yaml: {}", said(&output));
}

#[test]
fn the_image_is_pinned_and_not_root() {
    let text = read("deploy/Dockerfile");
    let value = |start: &str| {
        let line = text.lines().rev().find_map(|line| line.trim().strip_prefix(start));
        line.unwrap_or_else(|| panic!("no {start}")).trim().to_owned()
    };
    let numbered = |version: &str| version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.');
    assert!(numbered(&value("ARG DEBIAN=")) && numbered(&value("ARG RUST=")));
    for base in text.lines().filter_map(|line| line.strip_prefix("FROM ")) {
        let (image, tag) = base.split_whitespace().next().unwrap().split_once(':').unwrap();
        assert!(!image.contains('/') && (tag.contains("${RUST}") || tag.contains("${DEBIAN}")), "{base}");
    }
    let user = value("USER ");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user}");
    assert_eq!((value("STOPSIGNAL "), value("EXPOSE ")), ("SIGTERM".to_owned(), port()));
    assert_eq!(value("ENV OUTLIERD_ADMIN__LISTEN="), format!("0.0.0.0:{}", port()));
    assert_eq!(value("ENV ORT_DISABLE_TELEMETRY="), "1");
    assert!(text.contains("cargo build --release --locked") && text.contains("HEALTHCHECK "));
    // Exec form: no shell between the daemon and its signals.
    for start in ["ENTRYPOINT ", "CMD "] {
        assert!(serde_json::from_str::<Vec<String>>(&value(start)).is_ok(), "{start}");
    }

    let compose = yaml("deploy/compose.yaml");
    for (name, service) in compose["services"].as_object().unwrap() {
        let (_, tag) = service["image"].as_str().unwrap().rsplit_once(':').unwrap();
        assert!(tag.trim_start_matches('v').split('.').count() == 3, "{name}: {tag}");
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name}: published to all: {port}");
        }
    }
    let ours = &compose["services"]["outlierd"];
    assert_eq!(ours["image"], format!("outlierd:{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(ours["ports"][0], format!("127.0.0.1:{0}:{0}", port()));
    assert!(seconds(ours["stop_grace_period"].as_str().unwrap()) > grace());
    let scraped = yaml("deploy/prometheus/prometheus.yml");
    let target = &scraped["scrape_configs"][0]["static_configs"][0]["targets"][0];
    assert_eq!(*target, format!("outlierd:{}", port()));
    for mount in compose["services"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(|service| service["volumes"].as_array())
        .flatten()
    {
        let from = mount.as_str().unwrap().split(':').next().unwrap();
        assert!(!from.starts_with('.') || root().join("deploy").join(from).exists(), "{from} is not there");
    }
}

#[test]
fn kubernetes_probes_harden_and_agree() {
    let kustomization = yaml("deploy/kubernetes/kustomization.yaml");
    for resource in kustomization["resources"].as_array().unwrap() {
        yaml(&format!("deploy/kubernetes/{}", resource.as_str().unwrap()));
    }
    let set = yaml("deploy/kubernetes/statefulset.yaml");
    let (spec, pod) = (&set["spec"], &set["spec"]["template"]["spec"]);
    let labels = &spec["template"]["metadata"]["labels"];
    assert_eq!(spec["selector"]["matchLabels"], *labels);
    assert_eq!(yaml("deploy/kubernetes/service.yaml")["spec"]["selector"], *labels);
    for name in ["poddisruptionbudget", "podmonitor"] {
        let selector =
            yaml(&format!("deploy/kubernetes/{name}.yaml"))["spec"]["selector"]["matchLabels"].clone();
        assert_eq!(selector, *labels, "{name}");
    }
    let container = &pod["containers"][0];
    assert_eq!(container["image"], format!("outlierd:{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(container["ports"][0]["containerPort"].to_string(), port());
    assert_eq!(yaml("deploy/kubernetes/service.yaml")["spec"]["ports"][0]["port"].to_string(), port());
    let admin = read("src/admin.rs");
    for (probe, path) in
        [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert!(admin.contains(&format!("{path:?}")), "{path} is not served");
    }
    assert!(pod["securityContext"]["runAsNonRoot"] == true && pod["securityContext"]["runAsUser"] == 65_532);
    assert!(read("deploy/Dockerfile").contains("USER 65532:65532"));
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let own = &container["securityContext"];
    assert!(own["allowPrivilegeEscalation"] == false && own["readOnlyRootFilesystem"] == true);
    assert_eq!(own["capabilities"]["drop"][0], "ALL");
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > grace());
}

#[test]
fn units_are_hardened() {
    for unit in ["outlierd", "outlierd-gpu"] {
        let path = format!("deploy/{unit}.service");
        let text = read(&path);
        let has = |line: &str| text.lines().any(|found| found == line);
        let hardening = [
            "DynamicUser=yes",
            "ProtectSystem=strict",
            "ProtectHome=yes",
            "PrivateTmp=yes",
            "PrivateUsers=yes",
            "NoNewPrivileges=yes",
            "CapabilityBoundingSet=",
            "RestrictNamespaces=yes",
            "LockPersonality=yes",
            "SystemCallFilter=@system-service",
            "SystemCallArchitectures=native",
            "DevicePolicy=closed",
        ];
        for line in hardening.iter().chain(&[
            "Type=notify",
            "WatchdogSec=1min",
            "Environment=ORT_DISABLE_TELEMETRY=1",
        ]) {
            assert!(has(line), "{path}: no {line}");
        }
        assert_eq!(has("MemoryDenyWriteExecute=yes"), unit == "outlierd", "CUDA writes code and runs it");
        // Exit codes that another start does not mend: usage and configuration.
        assert!(has("RestartPreventExitStatus=64 78"), "{path}");
        let stop = text.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
        assert!(seconds(stop) > grace(), "{path}");
        let full = root().join(&path).to_string_lossy().into_owned();
        let arguments = ["security", "--offline=true", "--threshold=15", "--no-pager", &full];
        // Before version 250 it cannot judge a file.
        if let Some(output) = tool("systemd-analyze", &arguments)
            && !said(&output).contains("unrecognized option")
        {
            assert!(output.status.success(), "{path} is exposed by more than 1.5:\n{}", said(&output));
        }
    }
}

#[test]
fn the_debian_package_has_all_its_files() {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let deb = &metadata["packages"][0]["metadata"]["deb"];
    let assets = deb["assets"].as_array().unwrap();
    let placed: Vec<String> = assets.iter().map(|asset| format!("/{}", asset[1].as_str().unwrap())).collect();
    for asset in assets {
        let from = asset[0].as_str().unwrap();
        let folder = from.split_once("/*").map_or(from, |(folder, _)| folder);
        assert!(from == "target/release/outlierd" || root().join(folder).exists(), "{from} is not there");
    }
    for file in deb["conf-files"].as_array().unwrap() {
        assert!(placed.contains(&file.as_str().unwrap().to_owned()), "{file} is not installed");
        assert!(read("deploy/outlierd.service").contains(file.as_str().unwrap()), "{file} is not read");
    }
    let scripts = deb["maintainer-scripts"].as_str().unwrap();
    let units = deb["systemd-units"].as_array().unwrap();
    assert_eq!(units.len(), 2);
    for unit in units {
        assert!(
            root().join(scripts).join(format!("{}.service", unit["unit-name"].as_str().unwrap())).exists()
        );
        assert_eq!((&unit["enable"], &unit["start"]), (&Value::Bool(false), &Value::Bool(false)));
    }
}

#[test]
fn health_tells_living_from_ready() {
    let help = said(&outlierd(&[], &["health", "--help"]));
    assert!(help.contains(&defaults()["admin.listen"]), "its default is the daemon's: {help}");
    let address = format!("127.0.0.1:{}", client::free_port());
    let ask = |more: &[&str]| outlierd(&[], &[&["health", "--address", &address], more].concat());
    let refused = ask(&[]);
    assert_eq!(refused.status.code(), Some(69));
    assert!(
        said(&refused).contains(&address) && said(&refused).contains("[admin] listen"),
        "{}",
        said(&refused)
    );

    let listen = format!("admin.listen={address}");
    let mut arguments = client::run_arguments("127.0.0.1:1", "group", "topic", &[("sink.kind", "stdout")]);
    arguments.extend(["--set".to_owned(), listen.clone()]);
    let mut daemon = Daemon::start(&arguments);
    client::wait_for("a sign of life", || ask(&["--live"]).status.success().then_some(()));
    let waiting = ask(&[]);
    assert_eq!(waiting.status.code(), Some(69));
    assert!(said(&waiting).contains("[-] source"), "{}", said(&waiting));
    assert!(daemon.stop().success());

    let arguments = ["run", "--source", "stdin", "--sink", "stdout", "--set", &listen].map(str::to_owned);
    let mut daemon = Daemon::start_with(&arguments, Stdio::piped(), Stdio::null());
    client::wait_for("readiness", || ask(&[]).status.success().then_some(()));
    assert!(daemon.stop().success());
}
