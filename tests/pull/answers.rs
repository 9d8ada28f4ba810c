//! What a server answers instead of the file, or so slowly that it never comes; and what must never be seen of its
//! address.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A graph's address on that server, with everything that may lie beside it.
fn beside(web: &Web, folder: &Folder) -> Settings {
    let files = pull::of_url(&format!("{}/onnx/model.onnx?token=secret", web.url), None);
    Settings { trust: true, ..settings(folder, files) }
}

fn names(files: &[Pulled]) -> Vec<&str> {
    files.iter().map(|file| file.name.as_str()).collect()
}

#[test]
fn what_is_optional_and_refused_counts_as_missing() {
    let page = b"<!DOCTYPE html><p>Log in";
    let web = Web::start(move |request, line| match request.path.as_str() {
        "/onnx/model.onnx?token=secret" => line.file(request, ETAG, &model(1)),
        // A store that does not say what it does not have.
        "/onnx/tokenizer.json" => line.answer("403 Forbidden", &[], b"<Error>AccessDenied</Error>"),
        "/tokenizer.json" => line.file(request, ETAG, TOKENIZER),
        "/1_Pooling/config.json" => line.answer("401 Unauthorized", &[], b"no"),
        "/onnx/model.onnx_data" => line.answer("200 OK", &[("Content-Type", "text/html")], page),
        "/onnx/model.onnx.data" => line.answer("200 OK", &[], page),
        _ => line.answer("404 Not Found", &[], b"none"),
    });
    let folder = Folder::new();
    let mut told = Told::default();
    let files = pull::pull(&beside(&web, &folder), &mut told).unwrap();
    assert_eq!(names(&files), ["model.onnx", "tokenizer.json"]);
    let said: Vec<&String> = told.0.iter().filter(|what| what.contains("counts as missing")).collect();
    assert_eq!(said.len(), 3, "{told:?}", told = told.0);
    assert!(said[0].starts_with("1_Pooling/config.json is refused (401): http://"), "{}", said[0]);
    assert!(said[1].contains("/onnx/model.onnx_data is a web page"), "{}", said[1]);
    assert_eq!(said[2], "model.onnx.data is a web page; it is optional and counts as missing");
}

#[test]
fn what_is_needed_and_refused_ends_the_pull() {
    for (status, kind, why) in [
        ("403 Forbidden", "text/plain", "tokenizer.json is refused (403): "),
        ("200 OK", "text/html", "/onnx/tokenizer.json is a web page, not tokenizer.json"),
    ] {
        let web = Web::start(move |request, line| match request.path.as_str() {
            "/onnx/model.onnx?token=secret" => line.file(request, ETAG, &model(1)),
            "/onnx/tokenizer.json" => line.answer(status, &[("Content-Type", kind)], b"no"),
            _ => line.answer("404 Not Found", &[], b"none"),
        });
        let folder = Folder::new();
        let mut told = Told::default();
        let said = pull::pull(&beside(&web, &folder), &mut told).unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
        assert!(!folder.0.join("minilm").exists());
    }
    // A digest for it makes an optional file a needed one.
    let web = Web::start(|_, line| line.answer("403 Forbidden", &[], b"no"));
    let folder = Folder::new();
    let said = unavailable(fetch(&web, &folder).0);
    assert!(said.starts_with("model.onnx is refused (403): http://"), "{said}");
}

#[test]
fn a_server_that_drips_is_asked_again() {
    let resumed = Arc::new(AtomicBool::new(false));
    let (body, over) = (model(1), Arc::clone(&resumed));
    let web = Web::start(move |request, line| {
        if request.number > 0 {
            over.store(true, Ordering::Relaxed);
            return line.file(request, ETAG, &body);
        }
        cut(line, &body, 70_000);
        // Never silent for long, and never done.
        for byte in body[70_000..].iter().take(4_000) {
            if over.load(Ordering::Relaxed) {
                return;
            }
            line.send(&[*byte]);
            sleep(Duration::from_millis(10));
        }
    });
    let folder = Folder::new();
    let (outcome, told) = fetch(&web, &folder);
    outcome.unwrap();
    let slow =
        told.iter().find(|what| what.contains("bytes a second came for 400ms")).expect("a slow server");
    assert!(
        slow.starts_with("only ") && slow.contains(" of 300001 bytes of model.onnx; trying again"),
        "{slow}"
    );
    assert!(web.asked()[1].from().is_some_and(|from| from > 70_000), "{told:?}");
    in_place(&folder);
}

#[test]
fn what_may_be_secret_in_an_address_is_neither_shown_nor_kept() {
    let body = model(1);
    let web = Web::start(move |request, line| match (request.path.as_str(), request.number) {
        ("/model.onnx?token=secret-1", 0..4) => cut(line, &body, 1_000 * (request.number + 1)),
        ("/model.onnx?token=secret-2", _) => line.answer("403 Forbidden", &[], b"expired"),
        ("/model.onnx?token=secret-3", _) => line.answer("404 Not Found", &[], b"none"),
        ("/model.onnx?token=secret-4", _) => line.answer("503 Unavailable", &[], b"later"),
        ("/model.onnx?token=secret-5", _) => line.answer("200 OK", &[("Content-Type", "text/html")], b"page"),
        ("/model.onnx?token=secret-6", _) => {
            line.answer("302 Found", &[("Location", "/model.onnx?token=secret-6")], b"");
        }
        _ => line.file(request, ETAG, &body),
    });
    let folder = Folder::new();
    let note = folder.0.join("minilm.part/model.onnx.part.json");
    let fetch = |url: String| {
        let files = vec![Want { urls: vec![url], ..want(&web, "model.onnx", &model(1)) }];
        let mut told = Told::default();
        let outcome = pull::pull(&settings(&folder, files), &mut told);
        let said = outcome.as_ref().map_or_else(ToString::to_string, |_| String::new());
        let seen = format!("{said} {:?}", told.0);
        assert!(!seen.contains("secret"), "{seen}");
        if outcome.is_ok() { Ok(()) } else { Err(said) }
    };
    let url = |number: u32| format!("{}/model.onnx?token=secret-{number}", web.url);
    fetch(url(1)).unwrap_err();
    let kept = fs::read_to_string(&note).unwrap();
    assert!(!kept.contains("secret") && !kept.contains("http"), "{kept}");
    assert_eq!(fs::metadata(&note).unwrap().permissions().mode() & 0o777, 0o600);
    for (number, why) in [
        (2, "is refused (403)"),
        (3, "is not there"),
        (4, "status 503"),
        (5, "is a web page"),
        (6, "redirects more than 8 times"),
    ] {
        let said = fetch(url(number)).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
    let host = web.url.trim_start_matches("http://");
    for wrong in [
        format!("http://user:secret@{host}/model.onnx"),
        format!("http://user:sec/secret@{host}/model.onnx"),
        "ftp://host/model.onnx?secret".to_owned(),
        "http://models.invalid/model.onnx?secret".to_owned(),
        "http://ho st/model.onnx?secret".to_owned(),
        "user:secret@host/model.onnx".to_owned(),
    ] {
        fetch(wrong).unwrap_err();
    }
    // None of them is in the way of one that is right.
    fetch(url(1)).unwrap();
    in_place(&folder);
}

#[test]
fn a_note_of_an_address_that_was_kept_is_written_over() {
    let body = model(1);
    let web = Web::start(move |_, line| cut(line, &body, 1_000));
    let folder = Folder::new();
    let part = folder.0.join("minilm.part");
    fs::create_dir_all(&part).unwrap();
    let note = part.join("model.onnx.part.json");
    fs::write(&note, r#"{"url":"https://host/model.onnx?secret","etag":"\"first\"","total":9}"#).unwrap();
    unavailable(fetch(&web, &folder).0);
    assert!(!fs::read_to_string(&note).unwrap().contains("secret"));
    assert_eq!(fs::metadata(&note).unwrap().permissions().mode() & 0o777, 0o600);
}
