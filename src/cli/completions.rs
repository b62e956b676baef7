//! `tidegate completions`.

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell as Dialect;

use super::exit::Exit;
use super::{Cli, output};

/// Print a script that completes commands and flags in a shell
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  source <(tidegate completions bash)                                            for this shell\n  \
    tidegate completions bash > ~/.local/share/bash-completion/completions/tidegate  for every bash to come\n  \
    tidegate completions zsh > \"${fpath[1]}/_tidegate\"\n  \
    tidegate completions fish > ~/.config/fish/completions/tidegate.fish"
)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(command: &Completions) -> Result<(), Exit> {
    output::print(&String::from_utf8_lossy(&script(command.shell)))
}

fn script(shell: Shell) -> Vec<u8> {
    let dialect = match shell {
        Shell::Bash => Dialect::Bash,
        Shell::Zsh => Dialect::Zsh,
        Shell::Fish => Dialect::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(dialect, &mut Cli::command(), "tidegate", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_a_command_has_to_say_is_not_hidden_by_its_line_in_the_list() {
        let cli = Cli::command();
        for command in ["dev", "publish", "tail", "logs", "redrive", "bench"] {
            let command = cli.find_subcommand(command).unwrap();
            let (short, long) =
                (command.get_about().unwrap().to_string(), command.get_long_about().unwrap().to_string());
            assert!(long.len() > short.len() + 100 && long.contains(&short), "{long}");
        }
    }

    #[test]
    fn no_shell_is_left_without_a_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(shell)).unwrap();
            for command in ["serve", "logs", "redrive", "user", "key", "topology", "completions"] {
                assert!(script.contains(command), "{shell:?} does not know {command}");
            }
        }
    }
}
