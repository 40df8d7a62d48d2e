//! The HTML export in a browser. The tests print a message and are skipped without Chromium.

use crate::export::hostile;
use crate::export_readers::is_installed;
use crate::replay::with_timeline;
use crate::support::env::{TestEnv, finish};

/// Returns the page as Chromium renders it, without a network.
pub(crate) fn shown(env: &TestEnv, page: &str) -> Option<String> {
    if !is_installed("chromium", &["--version"]) {
        return None;
    }
    let profile = format!("--user-data-dir={}", env.path("profile").display());
    let url = format!("file://{}", env.path(page).display());
    let args = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--proxy-server=127.0.0.1:9",
        "--enable-logging=stderr",
        &profile,
        "--dump-dom",
        &url,
    ];
    let mut command = env.program("chromium");
    let output = finish(command.env("HOME", env.root()).args(args));
    // The console reports violations of the policy and errors of the script.
    let console: Vec<_> = output.stderr().lines().map(str::to_owned).collect();
    let console: Vec<_> = console
        .iter()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    assert!(console.is_empty(), "{console:?}");
    Some(output.stdout())
}

#[test]
fn browser_shows_page() {
    let env = with_timeline();
    env.ok(&["replay", "it", "--export", "html", "-o", "page.html"]);
    let Some(page) = shown(&env, "page.html") else {
        return;
    };
    for part in [
        "<h2>Timeline</h2>",
        "<h2>Host</h2>",
        "<h2>Jobs</h2>",
        "<h2>Output</h2>",
        "<h2>Events</h2>",
        "✗ failed",
        "↩ rolled back",
        "p-failed",
        "p-rollback",
        "exit: it exited with code 3",
        "11 of 11",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn browser_ignores_markup_in_job_output() {
    let env = hostile();
    env.ok(&["replay", "it", "--export", "html", "-o", "page.html"]);
    let Some(page) = shown(&env, "page.html") else {
        return;
    };
    assert!(page.contains("<title>&lt;b&gt;"), "the title is another");
    assert!(!page.contains("<title>owned"));
    // The output is shown as text, and the data contains it.
    assert!(page.contains("&lt;/script&gt;&lt;script&gt;document.title="));
    assert_eq!(page.matches("<script").count(), 2);
    assert!(page.contains("class=\"a-1\">red<"));
    let (_, body) = page.split_once("</head>").unwrap();
    let (shown, _) = body.split_once("<script").unwrap();
    for control in ['\u{1b}', '\u{8}', '\u{202e}'] {
        assert!(!shown.contains(control), "{control:?}");
    }
}

#[test]
fn browser_shows_any_job_name_and_color() {
    let env = TestEnv::new();
    let colors =
        r"printf '\033[38;5;1mfive\033[0m \033[38;2;4;4;4mrgb\033[m \033[1;94mblue\033[22m\n'";
    for job in ["constructor", "toString"] {
        let script = if job == "toString" { colors } else { "true" };
        let args = ["run", "-q", "--run", "it", "--job", job, "--", "sh", "-c"];
        env.ok(&[&args[..], &[script]].concat());
    }
    let gone = env.run(&["run", "-q", "--run", "it", "--job", "gone", "--", "./gone"]);
    assert_eq!(gone.code, 127);
    env.ok(&["run", "--run", "it", "--close"]);
    env.ok(&["replay", "it", "--export", "html", "-o", "page.html"]);
    let Some(page) = shown(&env, "page.html") else {
        return;
    };
    assert!(page.contains("<h2>Output</h2>") && page.contains("<h2>Events</h2>"));
    for part in [
        "class=\"a-1\">five<",
        "</span> rgb ",
        "class=\"a-b a-4\">blue<",
        // The job never ran.
        "class=\"p-failed\"",
    ] {
        assert!(page.contains(part), "{part}");
    }
}
