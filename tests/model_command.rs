//! `outlierd model` as a person runs it: what it fetches, says and refuses, and that what came runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use outlierd::embed::Embedder as _;
use outlierd::embed::onnx::{self, Device, Onnx};

use crate::broker::part;
use crate::command::{Folder, outlierd, refused, text};
use crate::pull::{ETAG, TOKENIZER, cut, model, sha256};
use crate::web::{Line, Request, Web};

fn command(web: &Web, folder: &Folder) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlierd"));
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_ascii_lowercase());
    }
    let url = format!("{}/minilm/onnx/model.onnx", web.url);
    let (model, tokenizer) = (sha256(&model(1)), format!("tokenizer.json={}", sha256(TOKENIZER)));
    command.args(["model", "pull", &url, "--sha256", &model, "--sha256", &tokenizer]);
    command.current_dir(&folder.0).stdin(Stdio::null());
    command
}

/// A hub: the model in a folder `onnx`, the tokenizer above it.
fn hub(request: &Request, line: &mut Line) {
    match request.path.trim_start_matches("http://models.invalid") {
        "/minilm/onnx/model.onnx" => line.file(request, ETAG, &model(1)),
        "/minilm/tokenizer.json" => line.file(request, ETAG, TOKENIZER),
        _ => line.answer("404 Not Found", &[], b"none"),
    }
}

#[test]
fn the_command_fetches_says_what_came_and_how_to_use_it() {
    let web = Web::start(hub);
    let folder = Folder::new();
    let output = command(&web, &folder).output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(said.starts_with("models/minilm\n") && said.contains(&sha256(TOKENIZER)), "{said}");
    assert!(said.ends_with("[model]\nkind = \"onnx\"\npath = \"models/minilm\"\n"), "{said}");
    assert_eq!(fs::read(folder.0.join("models/minilm/tokenizer.json")).unwrap(), TOKENIZER);
    let list = outlierd(&["model", "list", &folder.0.join("models").display().to_string()]);
    let list = text(&list.stdout);
    assert!(list.contains("all-MiniLM-L6-v2") && list.contains("Apache-2.0"), "{list}");
    assert!(list.contains("models/minilm "), "{list}");
}

#[test]
fn what_is_asked_for_wrongly_is_a_matter_of_usage() {
    let digest = "0".repeat(64);
    for (arguments, why) in [
        (vec!["gpt-5"], "no model is known as \"gpt-5\""),
        (vec!["e5-small-v2"], "no digest for model.onnx and tokenizer.json"),
        (vec!["https://models.invalid/model.onnx"], "--trust"),
        (vec!["http://models.invalid/model.onnx", "--trust"], "not encrypted"),
        (vec!["all-MiniLM-L6-v2", "--sha256", "12"], "64 hexadecimal digits"),
        (vec!["all-MiniLM-L6-v2", "--sums", "/nowhere/SUMS"], "cannot read /nowhere/SUMS"),
    ] {
        let folder = Folder::new();
        let mut all = vec!["model", "pull"];
        all.extend(arguments);
        let to = folder.0.join("model").display().to_string();
        all.extend(["--to", &to]);
        let said = refused(64, &all);
        assert!(said.contains(why), "{said}");
    }
    let named = format!("weights.bin={digest}");
    let said = refused(64, &["model", "pull", "all-MiniLM-L6-v2", "--sha256", &named]);
    assert!(said.contains("no file weights.bin is fetched"), "{said}");
}

#[test]
fn proxy_variables_are_honoured() {
    let web = Web::start(hub);
    let folder = Folder::new();
    let through = |no_proxy: &str, to: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outlierd"));
        for name in ["HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name);
        }
        command.env("HTTP_PROXY", &web.url).env("NO_PROXY", no_proxy).current_dir(&folder.0);
        let url = "http://models.invalid/minilm/onnx/model.onnx";
        command.args(["model", "pull", url, "--trust", "--insecure-http", "--to", to, "--tries", "1"]);
        command.output().unwrap()
    };
    let output = through("", "proxied");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(web.asked().iter().any(|request| {
        request.path.contains("models.invalid") || request.header("host") == Some("models.invalid")
    }));
    let before = web.asked().len();
    for no_proxy in ["models.invalid", "other, .invalid:80"] {
        let output = through(no_proxy, "direct");
        assert_eq!(output.status.code(), Some(69), "{}", text(&output.stdout));
        assert!(text(&output.stderr).contains("cannot ask models.invalid: "), "{}", text(&output.stderr));
    }
    assert_eq!(web.asked().len(), before);
}

/// Pulls through what a variable names, from a host that only a proxy could reach; its exit code and what it said.
fn through_proxy(folder: &Folder, variable: &str, value: &str, no_proxy: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlierd"));
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_ascii_lowercase());
    }
    command.env(variable, value).env("NO_PROXY", no_proxy).current_dir(&folder.0);
    let url = "http://models.invalid/minilm/onnx/model.onnx?token=secret";
    command.args(["model", "pull", url, "--trust", "--insecure-http", "--to", "model", "--tries", "1"]);
    let output = command.output().unwrap();
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    let said = text(&output.stderr);
    assert!(!said.contains("secret") && !said.contains("panicked"), "{said}");
    (output.status.code(), said)
}

#[test]
fn a_proxy_that_is_not_understood_is_refused_and_not_passed_over() {
    let folder = Folder::new();
    for (variable, value) in [
        ("ALL_PROXY", "socks5://user:secret@127.0.0.1:1080"),
        ("all_proxy", "socks4://127.0.0.1"),
        ("HTTP_PROXY", "http://user:sec/secret@127.0.0.1:3128"),
        ("http_proxy", "http://127.0.0.1:port"),
        ("HTTP_PROXY", "http://user:%ffsecret@127.0.0.1:3128"),
    ] {
        let (code, said) = through_proxy(&folder, variable, value, "");
        assert_eq!(code, Some(64), "{said}");
        assert!(said.contains(&format!("{variable} is not understood: ")), "{said}");
        assert!(said.contains("it may be http://HOST:PORT"), "{said}");
        // Where it does not count, it does not matter what it is.
        let (code, said) = through_proxy(&folder, variable, value, "models.invalid");
        assert_eq!(code, Some(69), "{said}");
    }
}

#[test]
fn errors_that_came_through_a_proxy_name_it() {
    let folder = Folder::new();
    let refuses = Web::start(|_, line| line.answer("403 Forbidden", &[], b"no"));
    let proxy = refuses.url.replace("http://", "http://user:secret@");
    let (code, said) = through_proxy(&folder, "HTTP_PROXY", &proxy, "10.0.*");
    assert_eq!(code, Some(69), "{said}");
    let named = format!("the proxy http://***@{} (HTTP_PROXY)", refuses.address);
    assert!(said.contains(&format!("/minilm/onnx/model.onnx through {named}; is it open")), "{said}");
    assert!(said.contains("passed over in NO_PROXY: 10.0.*; understood are HOST, HOST:PORT"), "{said}");
    let tunnel = &refuses.asked()[0];
    assert_eq!((tunnel.method.as_str(), tunnel.path.as_str()), ("CONNECT", "models.invalid:80"));
    assert!(tunnel.header("proxy-authorization").is_some_and(|word| word.starts_with("Basic ")));

    // One that does not answer at all.
    let gone = refuses.url.clone();
    drop(refuses);
    let (code, said) = through_proxy(&folder, "ALL_PROXY", &gone, "");
    assert_eq!(code, Some(69), "{said}");
    assert!(
        said.contains(&format!("cannot ask models.invalid through the proxy {gone} (ALL_PROXY): ")),
        "{said}"
    );
}

#[test]
fn a_list_of_a_folder_that_is_not_there_is_an_error() {
    let folder = Folder::new();
    let said = refused(69, &["model", "list", "/nowhere"]);
    assert!(said.contains("cannot look into /nowhere: ") && said.contains("name a folder"), "{said}");
    let file = folder.file("model.onnx", b"");
    assert!(refused(69, &["model", "list", &file]).contains("cannot look into"));
    // The usual one need not be there.
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlierd"));
    let output = command.args(["model", "list"]).current_dir(&folder.0).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let end = "in models\n  none; get one: outlierd model pull all-MiniLM-L6-v2\n";
    assert!(text(&output.stdout).ends_with(end), "{}", text(&output.stdout));
}

/// Looks into a folder; its exit code and the last line of what it said.
fn verdict(folder: &Path, library: &Path) -> (Option<i32>, String) {
    let (folder, library) = (folder.display().to_string(), library.display().to_string());
    let output = outlierd(&["model", "inspect", &folder, "--library", &library]);
    let (seen, said) = (text(&output.stdout), text(&output.stderr));
    assert!(!said.contains("panicked") && !seen.contains("Unusable("), "{seen} {said}");
    let last = seen.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("fit for use: "), "{seen} {said}");
    (output.status.code(), last)
}

#[test]
fn what_the_daemon_would_not_run_is_not_fit_for_use() {
    let folder = Folder::new();
    let library = part("onnxruntime/libonnxruntime.so");
    let [whole, tokenizer] = ["model.onnx", "tokenizer.json"].map(|name| part("minilm").join(name));
    let quantised = part("minilm-dynamic-quantised");
    let made = |name: &str, model: &[u8], tokenizer: &[u8]| {
        let path = folder.0.join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("model.onnx"), model).unwrap();
        fs::write(path.join("tokenizer.json"), tokenizer).unwrap();
        path
    };
    let (graph, words) = (fs::read(&whole).unwrap(), fs::read(&tokenizer).unwrap());
    let empty = folder.0.join("empty");
    fs::create_dir(&empty).unwrap();
    let changed = made("changed", &graph, &words);
    fs::write(changed.join("SHA256SUMS"), format!("{}  model.onnx\n", "0".repeat(64))).unwrap();
    for (path, why) in [
        (empty, "model file missing: "),
        (made("truncated", &graph[..graph.len() / 2], &words), "model does not load: "),
        (made("blank", b"", &words), "model does not load: "),
        (made("braces", &graph, b"{}"), "tokenizer unreadable: "),
        (made("no-json", &graph, b"words"), "tokenizer unreadable: "),
        (changed, "model.onnx is not as pulled (see SHA256SUMS); remove the folder and pull it anew"),
        (quantised, "model is dynamically quantised: "),
    ] {
        let (code, last) = verdict(&path, &library);
        assert_eq!(code, Some(65), "{}: {last}", path.display());
        assert!(last.starts_with(&format!("fit for use: no: {why}")), "{last}");
        assert!(last.contains("pull") || last.contains("[model]"), "it says what to do: {last}");
    }
    let (code, last) = verdict(&part("minilm"), &library);
    assert_eq!((code, last.as_str()), (Some(0), "fit for use: yes"));
    let (code, last) = verdict(&part("minilm"), Path::new("/nowhere.so"));
    assert_eq!(code, Some(69), "{last}");
    assert!(last.contains("no: ONNX Runtime is not usable here") && last.contains("--library"), "{last}");

    let said = refused(64, &["model", "inspect", &whole.display().to_string()]);
    assert!(said.contains("is a file; name the folder"), "{said}");
}

#[test]
fn what_is_not_shown_of_addresses_is_not_shown_where_they_are_none() {
    for address in ["host/model.onnx?token=secret", "user:secret@host/model.onnx"] {
        let said = refused(64, &["model", "pull", address]);
        assert!(said.contains("no model is known as that; known are") && !said.contains("secret"), "{said}");
    }
    for hub in ["https://host/?secret", "https://user:secret@host"] {
        let said = refused(64, &["model", "pull", "all-MiniLM-L6-v2", "--hub", hub]);
        assert!(said.contains("--hub is an address without a query") && !said.contains("secret"), "{said}");
    }
}

#[test]
fn a_pull_that_was_killed_goes_on() {
    let web = Web::start(|request, line| match request.number {
        0 => {
            cut(line, &model(1), 150_000);
            line.stall();
        }
        _ => hub(request, line),
    });
    let folder = Folder::new();
    let mut child = command(&web, &folder).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let part = folder.0.join("models/minilm.part/model.onnx.part");
    while fs::metadata(&part).map_or(0, |about| about.len()) < 150_000 {
        assert!(child.try_wait().unwrap().is_none(), "it should wait for more");
        sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let output = command(&web, &folder).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(web.asked()[1].from(), Some(150_000));
    assert!(!folder.0.join("models/minilm.part").exists());
}

/// The real model over the wire, by its name, from a server that breaks off: then it runs, and can be looked into.
#[test]
fn a_known_model_comes_from_a_mirror_and_runs() {
    let web = Web::start(|request, line| {
        let name = request.path.rsplit('/').next().unwrap();
        let body = fs::read(part("minilm").join(name)).unwrap();
        match request.number {
            0 => cut(line, &body, 40_000_000),
            _ => line.file(request, ETAG, &body),
        }
    });
    let folder = Folder::new();
    let to: PathBuf = folder.0.join("minilm");
    let digest = |name: &str| sha256(&fs::read(part("minilm").join(name)).unwrap());
    let (to_text, model) = (to.display().to_string(), digest("model.onnx"));
    // Built for the tests from the published weights: not the published file, so its digest is given.
    let arguments = ["model", "pull", "all-MiniLM-L6-v2", "--hub", &web.url, "--to", &to_text];
    let output = outlierd(&[&arguments[..], &["--sha256", &model]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(web.asked()[0].path, "/sentence-transformers/all-MiniLM-L6-v2/resolve/main/onnx/model.onnx");
    assert_eq!(web.asked()[1].from(), Some(40_000_000));
    runs(&to);

    let library = part("onnxruntime/libonnxruntime.so").display().to_string();
    let seen = outlierd(&["model", "inspect", &to_text, "--library", &library]);
    let seen = text(&seen.stdout);
    for line in [
        "as pulled              yes",
        "dynamically quantised  no",
        "input                  input_ids Tensor<i64>",
        "(read)",
        "pooling                mean of the tokens",
        "dimensions             384",
        "vocabulary             30522",
        "tokenizer's own limit  128 tokens",
        "runs on                cpu",
        "\nfit for use: yes\n",
    ] {
        assert!(seen.contains(line), "{line}: {seen}");
    }
    fs::write(to.join("tokenizer.json"), TOKENIZER).unwrap();
    let seen = outlierd(&["model", "inspect", &to_text, "--library", "/nowhere.so"]);
    assert_eq!(seen.status.code(), Some(65));
    let seen = text(&seen.stdout);
    assert!(seen.contains("NO: tokenizer.json differ"), "{seen}");
    assert_eq!(seen.matches("tokenizer unreadable").count(), 1, "said once: {seen}");
}

fn runs(folder: &Path) {
    let settings = onnx::Settings {
        folder: folder.to_owned(),
        library: Some(part("onnxruntime/libonnxruntime.so")),
        device: Device::Cpu,
        ..onnx::Settings::default()
    };
    let mut onnx = Onnx::open(&settings).unwrap();
    let vectors = onnx.embed(&["The new movie is awesome", "The new movie is so great"]).unwrap();
    let [a, b] = [0, 1].map(|at: usize| vectors[at].clone().unwrap().vector);
    let cosine: f32 = a.iter().zip(b.iter()).map(|(a, b)| a * b).sum();
    assert!((cosine - 0.8939).abs() < 1e-3, "{cosine}");
}

#[test]
fn without_a_library_the_files_still_tell() {
    let folder = part("minilm-dynamic-quantised").display().to_string();
    let output = outlierd(&["model", "inspect", &folder, "--library", "/nowhere.so"]);
    let seen = text(&output.stdout);
    assert_eq!(output.status.code(), Some(65), "{seen}");
    assert!(seen.contains("dynamically quantised  YES"), "{seen}");
    assert!(seen.contains("/nowhere.so ([model] library): no such file"), "{seen}");
    let said = refused(69, &["model", "inspect", "/nowhere"]);
    assert!(said.contains("cannot look into /nowhere") && said.contains("outlierd model pull"), "{said}");
}
