//! The recipes of the guide to notifications, tested against a local server.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use super::guides::{project, run, write_program};
use super::{read, split};

/// Answers one request. Returns its first line, its headers and its body.
fn serve(stream: TcpStream) -> String {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut stream = stream;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .unwrap();
    head + &String::from_utf8(body).unwrap()
}

/// Runs a failing job with the recipe below this heading. Returns the request that its service
/// received.
fn failed_with(heading: &str) -> String {
    let blocks = split(&read("docs/guides/notifications.md")).0;
    let recipe = blocks.iter().find(|block| block.heading == heading);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = format!("http://{}", listener.local_addr().unwrap());
    let recipe = &recipe.unwrap().text;
    let settings = regex::Regex::new("https://[a-z.-]+").unwrap();
    let settings = settings.replace_all(recipe, here.as_str());
    let dir = project();
    let config = dir.path().join(".omne/lib/cfg");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("runlog.toml"), &*settings).unwrap();
    write_program(
        &dir.path().join("sendmail"),
        "{ echo \"to $1\"; cat; } >mail",
    );
    let is_mail = recipe.contains("sendmail");
    let server = (!is_mail).then(|| thread::spawn(move || serve(listener.accept().unwrap().0)));
    let (code, printed) = run(
        dir.path(),
        "runlog run --run nightly-7 --close -n nightly sh -c 'echo working; exit 3'",
    );
    assert_eq!(code, 3, "{printed}");
    assert!(!printed.contains("the hook"), "{printed}");
    match server {
        Some(server) => server.join().unwrap(),
        None => fs::read_to_string(dir.path().join("mail")).unwrap(),
    }
}

#[test]
fn recipes_of_notifications_reach_their_service() {
    for program in ["curl", "jq"] {
        if Command::new(program).arg("--version").output().is_err() {
            println!("skipped: {program} is not installed");
            return;
        }
    }
    let because = "the run is closed and job sh failed: it exited with code 3";
    for (heading, expected) in [
        (
            "healthchecks",
            vec!["POST /UUID/3 ", "\"run_id\":\"nightly-7\"", because],
        ),
        (
            "ntfy",
            vec!["POST /TOPIC ", "Title: nightly-7 failed", because],
        ),
        (
            "Slack",
            vec!["POST /services/TOKEN ", "nightly-7 is failed: ", because],
        ),
        (
            "Mail",
            vec![
                "to ops@example.org",
                "Subject: nightly-7 failed",
                because,
                "working",
            ],
        ),
    ] {
        let got = failed_with(heading);
        for text in expected {
            assert!(got.contains(text), "{heading}: {got}");
        }
    }
}
