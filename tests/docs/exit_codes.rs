//! `docs/exit-codes.md` is generated from the codes of the program and from the help of each
//! command. README's table lists the same codes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use runlog::cli::exit::Code;
use runlog::cli::exit_status::rows;

use super::{check_or_bless, read};

fn page() -> String {
    let mut page = String::from(
        "# Exit codes\n\n\
         Generated from the program: do not edit it.\n\
         `RUNLOG_BLESS=1 cargo test --test docs` rewrites it.\n\n\
         | code | meaning |\n| --- | --- |\n",
    );
    for code in Code::ALL {
        writeln!(page, "| {} | {} |", code as u8, code.meaning()).unwrap();
    }
    page.push_str(
        "\n\
         `run` exits with the code of its command, or 128+N if signal N ended the command. Its\n\
         own codes are 1, 2, 74, 75 and 124 to 127; those of `run --close` without a command are\n\
         listed below.\n\
         \n\
         If the exit code is not 0, stderr has a line with the reason, which starts with\n\
         `error:` or `warning:` or describes the finding. A line `hint:` follows if you can do\n\
         something about it. No reason is on stderr if the command of `run` failed or timed out,\n\
         if the answer is on stdout (`status --wait` and `--exit-status`, `stop`,\n\
         `replay --recover`, `--diff` and `--verify`), if `tail --grep` found nothing, as with\n\
         grep, or if `--timeout` expired. If stdout is closed early (`| head`), that is not\n\
         reported, and the exit code is still the answer if the command has one\n\
         (`status --wait`, `replay --diff`, `stop`); a command that only prints, such as `tail`,\n\
         ends with 0.\n",
    );
    let mut cli = runlog::cli::Cli::description();
    cli.build();
    let has_codes = |c: &&clap::Command| !c.is_hide_set() && c.get_name() != "help";
    for command in cli.get_subcommands().filter(has_codes) {
        let help = command.get_long_about().unwrap().to_string();
        let (_, told) = help.split_once("Exit codes: ").unwrap();
        let name = command.get_name();
        write!(
            page,
            "\n## `runlog {name}`\n\n| code | meaning |\n| --- | --- |\n"
        )
        .unwrap();
        for (code, meaning) in rows(told) {
            if let Ok(code) = code.parse::<u8>() {
                let known = Code::ALL.iter().any(|known| *known as u8 == code);
                assert!(known, "the help of {name} lists {code}");
            }
            writeln!(page, "| {code} | {meaning} |").unwrap();
        }
    }
    page
}

#[test]
fn exit_codes_page_is_up_to_date() {
    check_or_bless("docs/exit-codes.md", &page());
}

#[test]
fn readme_lists_all_exit_codes() {
    let readme = read("README.md");
    let rows = readme.lines().filter(|line| line.starts_with("| "));
    let told: BTreeSet<u8> = rows
        .filter_map(|row| row.trim_start_matches("| ").split(" |").next())
        .flat_map(|cell| cell.split(", "))
        .filter_map(|code| code.parse().ok())
        .collect();
    let codes = Code::ALL.iter().map(|code| *code as u8);
    assert_eq!(told, codes.collect());
}
