//! `runlog emit --lines`: one note per line of stdin.

use serde_json::{Value, json};

use crate::support::checks;
use crate::support::crash::on_small_disk;
use crate::support::env::{TestEnv, wait_until};

/// Creates the open run `it` with one event.
fn opened() -> TestEnv {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "begin"]);
    env
}

/// Returns the data of the notes for these lines.
fn data_of_lines(lines: &[u8]) -> Vec<Value> {
    let env = opened();
    let output = env.run_with(&["emit", "--run", "it", "--lines"], lines);
    assert_eq!((output.code, output.stderr()), (0, String::new()));
    let mut notes = env.events_of_type("it", "note");
    notes.drain(1..).map(|note| note["data"].clone()).collect()
}

#[test]
fn json_lines_are_stored_unchanged() {
    let lines = b"{\"a\":1}\n[2]\n3\n\"four\"\nnull\n";
    assert_eq!(
        data_of_lines(lines),
        [
            json!({"a": 1}),
            json!([2]),
            json!(3),
            json!("four"),
            json!(null)
        ]
    );
}

#[test]
fn other_lines_are_stored_as_text() {
    let lines = b"plain\n{broken\n\nlast without newline";
    let expected = ["plain", "{broken", "", "last without newline"].map(|t| json!({"text": t}));
    assert_eq!(data_of_lines(lines), expected);
}

#[test]
fn non_utf8_lines_are_stored_in_base64() {
    assert_eq!(data_of_lines(b"\xff\xfe\n"), [json!({"text_b64": "//4="})]);
}

#[test]
fn empty_input_writes_no_notes() {
    assert_eq!(data_of_lines(b""), [json!(null); 0]);
}

#[test]
fn rejected_line_fails_but_rest_continues() {
    let env = opened();
    let mut lines = b"one\n\"a\\u0000b\"\n".to_vec();
    lines.resize(lines.len() + (2 << 20), b'x');
    lines.extend_from_slice(b"\nfour\n");
    let output = env.run_with(&["emit", "--run", "it", "--lines"], &lines);
    assert_eq!(output.code, 1);
    let stderr = output.stderr();
    let errors: Vec<_> = stderr
        .lines()
        .filter_map(|l| l.split(": ").nth(1))
        .collect();
    assert_eq!(errors, ["line 2", "line 3"], "{stderr}");
    let notes = env.events_of_type("it", "note");
    let texts: Vec<_> = notes
        .iter()
        .filter_map(|n| n["data"]["text"].as_str())
        .collect();
    assert_eq!(texts, ["one", "four"]);
}

#[test]
fn line_just_below_1_mib_is_stored() {
    let line = vec![b'x'; (1 << 20) - 2048];
    let data = data_of_lines(&line);
    assert_eq!(data[0]["text"].as_str().unwrap().len(), line.len());
}

#[test]
fn ack_prints_stored_bytes() {
    let env = opened();
    let output = env.run_with(
        &["emit", "--run", "it", "--lines", "--ack"],
        b"a\nb\n{\"c\":1}\n",
    );
    let log = std::fs::read_to_string(env.log_path("it")).unwrap();
    assert_eq!(checks::events(&output.stdout).len(), 3);
    assert!(log.ends_with(&output.stdout()));
}

#[test]
fn ack_is_printed_while_stdin_is_open() {
    let env = opened();
    let mut emit = env.spawn(&["emit", "--run", "it", "--lines", "--ack"]);
    for _ in 0..3 {
        emit.write(b"ping\n");
        let line = emit.read_line();
        assert_eq!(checks::event(&line)["data"]["text"], "ping");
        assert_eq!(env.events("it").last().unwrap(), &checks::event(&line));
    }
    emit.write(b"unfinished");
    assert_eq!(emit.end().stdout().lines().count(), 1);
}

#[test]
fn lines_accept_a_note_name() {
    let env = opened();
    env.run_with(&["emit", "--run", "it", "metric", "--lines"], b"1\n");
    assert_eq!(env.events("it").pop().unwrap()["name"], "metric");
}

#[test]
fn error_names_first_line_that_is_not_stored() {
    let env = opened();
    let mut emit = env.spawn(&["emit", "--run", "it", "--lines"]);
    emit.write(b"one\n");
    wait_until("it is stored", || {
        env.events_of_type("it", "note").len() == 2
    });
    env.ok(&["run", "--run", "it", "--close"]);
    emit.write(b"two\n");
    let output = emit.end();
    assert_eq!(output.code, 1);
    let stderr = output.stderr();
    let expected =
        "error: the lines before line 2 are stored, the others are not: run `it` is closed\nhint:";
    assert!(stderr.starts_with(expected), "{stderr}");
}

#[test]
fn full_disk_error_names_first_line_that_is_not_stored() {
    let env = TestEnv::new();
    let script = r#"
        "$RUNLOG" emit --open --run it begin
        yes "$(printf '%0500d' 0)" | head -n 3000 | "$RUNLOG" emit --run it --lines line 2>../told; echo "code $?"
        "$RUNLOG" tail it --type note -n all --no-pager 2>/dev/null | wc -l
    "#;
    let Some(output) = on_small_disk(&env, script) else {
        return;
    };
    let stdout = output.stdout();
    let (code, notes) = stdout.trim_end().split_once('\n').unwrap();
    assert_eq!(code, "code 7");
    // `begin` is a note too, so their number is that of the first line that is missing.
    let told = std::fs::read_to_string(env.path("told")).unwrap();
    let expected = format!("error: the lines before line {notes} are stored, the others are not: ");
    assert!(told.starts_with(&expected), "{notes}: {told}");
}
