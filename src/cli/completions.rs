//! Shell completions and manual pages, made from the command line itself so that they cannot differ from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;

use super::{Line, SOFTWARE, UNAVAILABLE, fail, say};

pub(super) const COMPLETIONS_EXAMPLES: &str = "Examples:
  outlierd completions bash > /etc/bash_completion.d/outlierd
  mkdir -p ~/.zfunc && outlierd completions zsh > ~/.zfunc/_outlierd
  mkdir -p ~/.config/fish/completions && outlierd completions fish > ~/.config/fish/completions/outlierd.fish

zsh looks into a folder that $fpath names: fpath+=~/.zfunc in ~/.zshrc, before compinit.";

pub(super) const MAN_EXAMPLES: &str = "Examples:
  outlierd man | man -l -
  outlierd man --to /usr/local/share/man/man1";

/// For bash: source <(outlierd completions bash)
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// Folder for a page of each verb, such as outlierd-run.1; made if it is not there.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Prints a shell's completions.
pub(super) fn print(options: &Completions) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut Line::command(), "outlierd", &mut text);
    say(&String::from_utf8_lossy(&text));
    ExitCode::SUCCESS
}

/// Prints the page of the whole command, or writes those of all verbs.
pub(super) fn man(options: &Man) -> ExitCode {
    let mut command = Line::command();
    command.build();
    let Some(folder) = &options.to else {
        return match page(&command, "outlierd") {
            Ok(page) => {
                say(&page);
                ExitCode::SUCCESS
            }
            Err(error) => fail(SOFTWARE, &error),
        };
    };
    let written = fs::create_dir_all(folder).and_then(|()| write(&command, "outlierd", folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(UNAVAILABLE, &format!("cannot write to {}: {error}", folder.display())),
    }
}

fn write(command: &Command, name: &str, folder: &Path) -> std::io::Result<()> {
    fs::write(folder.join(format!("{name}.1")), page(command, name)?)?;
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        write(verb, &format!("{name}-{}", verb.get_name()), folder)?;
    }
    Ok(())
}

/// One page. The text behind the options is set as it stands: its lines are to be copied.
fn page(command: &Command, name: &str) -> std::io::Result<String> {
    let man = clap_mangen::Man::new(command.clone()).title(name.to_uppercase());
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut text)?;
    }
    if command.get_subcommands().next().is_some() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut text = String::from_utf8_lossy(&text).into_owned();
    if let Some(extra) = command.get_after_help() {
        text.push_str(".SH EXAMPLES\n.nf\n");
        for line in extra.to_string().lines().filter(|line| *line != "Examples:") {
            text.push_str(&literal(line));
        }
        text.push_str(".fi\n");
    }
    text.push_str(".SH \"SEE ALSO\"\n.BR outlierd (1)\n");
    Ok(text)
}

/// A line that roff(7) takes as text: no request at its beginning, no escape, no hyphen where a minus is meant.
fn literal(line: &str) -> String {
    format!("\\&{}\n", line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq"))
}
