//! Help holds what it promises: every verb has an example, and every example is a line that this command takes.

use clap::CommandFactory as _;

use super::*;

/// All verbs at the ends of the tree, with their full names.
fn verbs(command: &clap::Command, name: &str, found: &mut Vec<(String, String)>) {
    let below: Vec<_> = command.get_subcommands().filter(|verb| verb.get_name() != "help").collect();
    if below.is_empty() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        found.push((name.to_owned(), help));
    }
    for verb in below {
        verbs(verb, &format!("{name} {}", verb.get_name()), found);
    }
}

/// The words of an example as a shell would hand them over, from the command's name to the end of its part.
fn words(example: &str) -> Vec<String> {
    let from = example.find("outlierd ").unwrap_or(example.len());
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in example[from..].chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '|' | '>') => break,
            (None, '#') if word.is_none() => break,
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn every_verb_has_examples_that_this_command_takes() {
    let mut found = Vec::new();
    verbs(&Line::command(), "outlierd", &mut found);
    assert!(found.len() > 10, "{found:?}");
    for (name, help) in found {
        assert!(help.starts_with("Examples:\n"), "{name} has no examples: {help:?}");
        // They end where a paragraph ends.
        let examples: Vec<&str> = help.lines().skip(1).take_while(|line| line.starts_with("  ")).collect();
        let own = |line: &&&str| {
            let words = words(line).join(" ");
            words == name || words.starts_with(&format!("{name} "))
        };
        assert!(examples.iter().filter(own).count() > 0, "{name}: {examples:?}");
        for example in examples {
            let given = words(example);
            // Placeholders stand for what only the reader knows.
            let given = given.iter().map(|word| word.replace("DIGEST", &"0".repeat(64)));
            if let Err(error) = Line::try_parse_from(given) {
                panic!("{name}: {example}: {error}");
            }
        }
    }
}

#[test]
fn the_first_hour_of_the_help_is_one_that_this_command_takes() {
    let help = Line::command().get_after_help().unwrap().to_string();
    let lines: Vec<&str> = help.lines().filter(|line| line.starts_with("  ")).collect();
    assert!(lines.len() >= 5);
    for line in lines {
        // What follows two blanks explains.
        let command = line.trim().split("  ").next().unwrap();
        if let Err(error) = Line::try_parse_from(words(command)) {
            panic!("{command}: {error}");
        }
    }
}

#[test]
fn what_the_readmes_tell_to_type_is_what_this_command_takes() {
    let readmes = [include_str!("../../README.md"), include_str!("../../deploy/README.md")];
    let mut typed = 0;
    for readme in readmes {
        // Every second part between fences is to be typed, or what was printed.
        for line in readme.split("```").skip(1).step_by(2).flat_map(str::lines) {
            let line = line.split("  #").next().unwrap_or(line);
            let Some(at) = line.find("outlierd ") else { continue };
            let before = line[..at].trim_end_matches("target/release/");
            let begins = before.is_empty() || before.ends_with("| ") || before.ends_with("&& ");
            if !begins {
                continue;
            }
            typed += 1;
            let until = line[at..].split(" && ").next().unwrap_or(line).trim_end_matches(" &");
            if let Err(error) = Line::try_parse_from(words(until)) {
                panic!("{line}: {error}");
            }
        }
    }
    assert!(typed > 15, "{typed}");
}

#[test]
fn the_command_line_is_sound() {
    Line::command().debug_assert();
}
