//! That the defaults, the table of keys and the types are one; and how layers lie over each other.

use super::load::{Loaded, Variable, layered};
use super::reference::comments;
use super::{DEFAULTS, Set, fault, keys};

fn set(key: &str, text: &str) -> Set {
    (key.to_owned(), text.to_owned())
}

fn variable(name: &str, text: &str) -> Variable {
    (name.to_owned(), Some(text.to_owned()))
}

/// What is wrong with a file of defaults.
fn wrong(defaults: &str) -> Vec<String> {
    let loaded = layered(defaults, None, &[], &[]);
    let mut faults = loaded.faults.clone();
    faults.extend(loaded.raw().err().unwrap_or_default());
    fault::lines(faults)
}

#[test]
fn defaults_table_and_types_have_the_same_keys_and_each_a_comment() {
    assert_eq!(wrong(DEFAULTS), [""; 0]);
    let (loaded, comments) = (layered(DEFAULTS, None, &[], &[]), comments(DEFAULTS));
    for key in keys::KEYS {
        assert!(loaded.layers.contains(key.name), "{} has no default", key.name);
        let words = comments.get(key.name).map_or(0, |comment| comment.split_whitespace().count());
        assert!(words >= 2, "{} has no comment", key.name);
    }
    for key in keys::FIELD_KEYS {
        assert!(comments.contains_key(&format!("field.{}", key.name)), "{} has no comment", key.name);
    }
    for name in comments.keys().filter(|name| !name.starts_with("field") && name.as_str() != keys::OPTIONS) {
        assert!(keys::find(name).is_some(), "{name} is described but no key");
    }
}

/// A key that one of them lacks is found, in either direction.
#[test]
fn a_key_that_one_of_them_lacks_is_found() {
    let mut tried = 0;
    for line in DEFAULTS.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')) {
        // Each key of the types is in the file: without it they do not take what is left.
        let without = DEFAULTS.replacen(&format!("\n{line}\n"), "\n", 1);
        let missing = wrong(&without);
        let key = line.split(' ').next().expect("a line has a first word");
        // A section is gone with its only key.
        let told =
            missing.len() == 1 && [key, "admin"].iter().any(|name| missing[0].contains(&format!("`{name}`")));
        assert!(told, "{line}: {missing:?}");
        // Each key of the file is one of the table.
        let (name, value) = line.split_once(" = ").expect("a key and its value");
        let more = DEFAULTS.replacen(&format!("\n{line}\n"), &format!("\n{line}\n{name}_x = {value}\n"), 1);
        let unknown = wrong(&more);
        assert!(
            unknown.len() == 1 && unknown[0].contains(&format!("unknown key \"{key}_x\"")),
            "{unknown:?}"
        );
        tried += 1;
    }
    assert_eq!(tried, keys::KEYS.len());
}

fn valid(loaded: &Loaded) -> super::raw::Raw {
    assert_eq!(fault::lines(loaded.faults.clone()), [""; 0]);
    loaded.raw().expect("all are valid")
}

#[test]
fn names_made_of_digits_are_names_and_numbers_are_numbers() {
    let environment = [
        variable("OUTLIERD_KAFKA__INSTANCE", "0"),
        variable("OUTLIERD_KAFKA__GROUP", "007"),
        variable("OUTLIERD_DETECT__WINDOW", "500"),
        variable("OUTLIERD_HOME", "/somewhere"),
    ];
    let sets = [
        set("sink.topic", "7"),
        set("sink.path", "2024.10"),
        set("model.prefix", "true"),
        set("kafka.fetch_memory", "1048576"),
        set("source.topics", "[2024, \"007\", logs, true]"),
        set("source.follow", "true"),
        set("alert.similarity", "0.5"),
        set("kafka.options", "{\"fetch.wait.max.ms\" = 20}"),
        set("kafka.options.client.rack", " a "),
        set("render", "{infer_events = 50}"),
        set("field", "[{pointer = \"/a\", kind = \"key\"}]"),
    ];
    let loaded = layered(DEFAULTS, None, &environment, &sets);
    let raw = valid(&loaded);
    assert_eq!((&*raw.kafka.instance, &*raw.kafka.group, raw.detect.window), ("0", "007", 500));
    assert_eq!((&*raw.sink.topic, &*raw.sink.path, &*raw.model.prefix), ("7", "2024.10", "true"));
    assert_eq!(raw.kafka.fetch_memory.0, 1 << 20);
    assert_eq!(raw.source.topics, ["2024", "007", "logs", "true"]);
    assert!(raw.source.follow && (raw.alert.similarity - 0.5).abs() < 1e-9 && raw.render.infer_events == 50);
    assert_eq!(raw.field[0].pointer, "/a");
    assert_eq!(raw.kafka.options["fetch.wait.max.ms"].reveal(), "20");
    assert_eq!(raw.kafka.options["client.rack"].reveal(), "a");
    assert_eq!(loaded.places.set_at("detect.window").to_string(), "environment OUTLIERD_DETECT__WINDOW");
    assert!(!format!("{raw:?}").contains("\"a\""), "options are not shown: {:?}", raw.kafka);
}

#[test]
fn later_layers_win_and_a_broken_one_leaves_the_earlier() {
    let environment = [variable("OUTLIERD_DETECT__WINDOW", "500"), variable("OUTLIERD_DETECT__WARMUP", "50")];
    let sets = [set("detect.window", "600"), set("detect.warmup", "x")];
    let loaded = layered(DEFAULTS, None, &environment, &sets);
    let lines = fault::lines(loaded.faults.clone());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("command line: detect.warmup: is \"x\""), "{lines:?}");
    let raw = loaded.raw().expect("the rest is valid");
    assert_eq!((raw.detect.window, raw.detect.warmup), (600, 50));
}

#[test]
fn a_secret_of_the_environment_is_taken_as_it_is() {
    let environment = [
        variable("OUTLIERD_KAFKA__OPTIONS__SASL_PASSWORD", " \"p w\" "),
        variable("OUTLIERD_KAFKA__OPTIONS__SSL_KEY_PASSWORD_FILE", "/run/key"),
    ];
    let raw = valid(&layered(DEFAULTS, None, &environment, &[]));
    assert_eq!(raw.kafka.options["sasl.password"].reveal(), " \"p w\" ");
    assert_eq!(raw.kafka.options["ssl.key.password_file"].reveal(), "/run/key");
}

#[test]
fn whatever_is_written_is_judged_and_nothing_breaks() {
    let mut judged = 0;
    let mut judge = |text: &str| {
        let loaded = layered(text, None, &[], &[set("kafka.options.", "")]);
        if let (true, Ok(raw)) = (loaded.complete, loaded.raw()) {
            let mut faults = super::resolve::Faults { places: &loaded.places, found: Vec::new() };
            let _whatever = super::resolve::resolve(&raw, false, &mut faults);
        }
        for line in fault::lines(loaded.faults) {
            assert!(line.len() > 10 && !line.contains(char::is_control), "{line:?}");
        }
        judged += 1;
    };
    for (number, (at, _)) in DEFAULTS.char_indices().enumerate().filter(|(number, _)| number % 23 == 0) {
        let odd =
            ["\"", "[", "]", "=", "\0", "\u{7f}", "é", "\n", "${", "9", "-", "{", "."][number / 23 % 13];
        let (before, after) = DEFAULTS.split_at(at);
        judge(&format!("{before}{odd}{after}"));
        judge(&format!("{before}{}", after.get(1..).unwrap_or_default()));
    }
    for key in keys::KEYS {
        for value in [
            "1e400",
            "-9223372036854775808",
            "\"\\u0000\"",
            "[[[]]]",
            "{ a = { b = 1 } }",
            "1979-05-27T07:32:00Z",
        ] {
            judge(&format!("{} = {value}\n", key.name));
        }
    }
    judge(&"[".repeat(100_000));
    judge(&format!("a = {}", "[".repeat(100_000)));
    judge(&format!("[kafka]\ngroup = \"{}\"", "${A:-".repeat(100_000)));
    assert!(judged > 1_000, "{judged}");
}

#[test]
fn there_is_an_end_to_fields() {
    let field = |number| format!("[[field]]\npointer = \"/f{number}\"\nkind = \"key\"\n");
    let faults = |count: u32| layered(&(0..count).map(field).collect::<String>(), None, &[], &[]).faults;
    assert!(faults(5_000).is_empty());
    let lines = fault::lines(faults(5_001));
    assert_eq!(lines, ["field: has 5001 entries, should have at most 5000; name what is to be read"]);
}
