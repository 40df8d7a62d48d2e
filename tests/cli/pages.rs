//! The pages of `--export html`, as Chromium renders them without a network. A test prints a
//! message and is skipped if Chromium is not installed.

use std::fs;

use serde_json::{Value, json};

use crate::export_browser::shown;
use crate::support::env::TestEnv;

/// The width of a small phone.
const NARROW: u32 = 390;

/// The element that contains the data of a page.
const DATA: &str = "<script type=\"application/json\" id=\"data\">";

/// Returns the data of a page.
fn data_of(page: &str) -> Value {
    let (_, rest) = page.split_once(DATA).unwrap();
    let (data, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(data).unwrap()
}

/// Creates `frame.html`, which shows a page at the width of a phone and repeats the width of its
/// content. The page's policy is removed, because it allows no script of the test.
fn frame(env: &TestEnv, page: &str) {
    let report = "<script>addEventListener('load', () => parent.postMessage(\
                  document.documentElement.scrollWidth > innerWidth, '*'))</script></body>";
    let (head, rest) = page.split_once("<meta http-equiv").unwrap();
    let (_, rest) = rest.split_once(">\n").unwrap();
    env.write(
        "inner.html",
        format!("{head}{rest}").replace("</body>", report),
    );
    env.write(
        "frame.html",
        format!(
            "<!doctype html><p id=answer></p><iframe width={NARROW} height=800 src=inner.html>\
             </iframe><script>addEventListener('message', (event) => {{ \
             document.getElementById('answer').textContent = `overflow ${{event.data}}`; }});\
             </script>"
        ),
    );
}

/// Asserts that nothing on a page is wider than a phone. Returns `false` without Chromium.
#[track_caller]
fn check_narrow(env: &TestEnv, page: &str) -> bool {
    frame(env, page);
    let Some(shown) = shown(env, "frame.html") else {
        return false;
    };
    assert!(shown.contains("overflow false"), "{shown}");
    true
}

#[test]
fn page_of_run_links_output_to_timeline() {
    let env = TestEnv::new();
    // The first line is in the index before the pause, and the log has some samples.
    let script = "echo first; until test -s .omne/var/runs/*/jobs/it.out.idx; do sleep 0.01; done
        until [ $(grep -c '\"type\":\"job_sampled\"' .omne/var/runs/*/events.jsonl) -ge 2 ]; do sleep 0.01; done
        sleep 0.3; printf '1%%\\r99%%\\n'; echo bad >&2";
    env.ok(&["run", "-n", "it", "--sample", "20ms", "sh", "-c", script]);
    env.ok(&["replay", "it", "--export", "html", "-o", "page.html"]);
    let Some(page) = shown(&env, "page.html") else {
        return;
    };
    let data = data_of(&fs::read_to_string(env.path("page.html")).unwrap());
    let parts = data["output"]["it"]["parts"].as_array().unwrap();
    let stored: Vec<_> = parts.iter().map(|part| part[2].as_u64().unwrap()).collect();
    assert!(
        stored.is_sorted() && stored[1] >= stored[0] + 100,
        "{parts:?}"
    );
    // Each group of lines has the time at which it was stored.
    let first = format!("data-t=\"{}\"", stored[0]);
    assert!(
        page.contains("class=\"stored\"") && page.contains(&first),
        "{page}"
    );
    // A carriage return alone starts the line again.
    assert!(
        page.contains("99%\n") && !page.contains("1%\u{240d}"),
        "{page}"
    );
    assert!(page.contains("Resident memory"), "{page}");
    // Everything with a time axis has the line that the pointer moves.
    assert!(page.matches("class=\"pointer\"").count() >= 2, "{page}");
}

#[test]
fn pages_fit_on_telephone() {
    let env = TestEnv::new();
    let name = "check-the-certificates-of-all-customers-in-every-region";
    let long = "x".repeat(300);
    let script = format!("echo {long}; echo {long} >&2; exit 3");
    env.run(&[
        "run", "-q", "-n", name, "--sample", "10ms", "sh", "-c", &script,
    ]);
    env.run(&["run", "-q", "-n", &"y".repeat(100), "true"]);
    env.ok(&[
        "status",
        "--export",
        "html",
        "-o",
        "page.html",
        "--with-runs",
        "runs",
    ]);
    let read = |path: &str| fs::read_to_string(env.path(path)).unwrap();
    let runs = env.runs();
    let failed = runs.iter().find(|run| run.starts_with(name)).unwrap();
    if check_narrow(&env, &read("page.html")) {
        check_narrow(&env, &read(&format!("runs/{failed}.html")));
    }
}

#[test]
fn page_of_runs_counts_completed_ones() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "-n", "it", "true"]);
    env.run(&["run", "-q", "-n", "it", "sh", "-c", "sleep 1; exit 1"]);
    env.ok(&["status", "--export", "html", "-o", "page.html"]);
    let Some(page) = shown(&env, "page.html") else {
        return;
    };
    let took = env.json_lines(&["status", "--stats", "--json"])[0]["duration_max_ms"].clone();
    assert!(took.as_u64().unwrap() < 1_000);
    let (_, scale) = page.split_once("<span>completed: at most ").unwrap();
    assert!(scale.split('<').next().unwrap().ends_with("ms"), "{page}");
    assert!(page.contains("median peak memory"), "{page}");
}

#[test]
fn page_of_ten_thousand_runs_is_drawn() {
    let env = TestEnv::new();
    env.run(&["run", "-q", "-n", "it", "false"]);
    env.ok(&["status", "--export", "html", "-o", "one.html"]);
    let page = fs::read_to_string(env.path("one.html")).unwrap();
    let mut data = data_of(&page);
    let row = data["runs"][0].clone();
    let rows = (0..10_000u64).map(|n| {
        let mut row = row.clone();
        row[0] = json!(format!("it-01m8gs2jgx9ebvbh{n:010}"));
        row[1] = json!(n % 50);
        row[3] = json!(row[3].as_u64().unwrap() - n);
        row
    });
    data["runs"] = rows.collect();
    data["names"] = (0..50).map(|n| json!(format!("it-{n}"))).collect();
    let (head, rest) = page.split_once(DATA).unwrap();
    let (_, tail) = rest.split_once("</script>").unwrap();
    let page = format!("{head}{DATA}{data}</script>{tail}");
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
    env.write("page.html", &page);
    let Some(drawn) = shown(&env, "page.html") else {
        return;
    };
    assert!(drawn.contains("10000 of 10000"), "{drawn}");
    // Many runs need few elements: more are drawn on request.
    let rows = drawn.matches("<tr").count();
    assert!((100..1_000).contains(&rows), "{rows} rows");
    check_narrow(&env, &page);
}

#[test]
fn unusual_memory_is_noted() {
    let env = TestEnv::new();
    for _ in 0..3 {
        env.ok(&["run", "-q", "-n", "it", "true"]);
    }
    env.ok(&[
        "run",
        "-q",
        "-n",
        "it",
        "sh",
        "-c",
        "head -c 40M /dev/zero | tail -c 40M >/dev/null",
    ]);
    env.ok(&[
        "status",
        "--export",
        "html",
        "-o",
        "page.html",
        "--with-runs",
        "runs",
    ]);
    let id = env.status("it")["run_id"].as_str().unwrap().to_owned();
    let page = format!("runs/{id}.html");
    let usual = &data_of(&fs::read_to_string(env.path(&page)).unwrap())["run"]["usual"];
    assert!(usual["max_rss_p50_bytes"].as_u64().unwrap() > 0, "{usual}");
    assert_eq!(
        env.status("it")["usual"]["max_rss_p50_bytes"],
        usual["max_rss_p50_bytes"]
    );
    let Some(page) = shown(&env, &page) else {
        return;
    };
    assert!(page.contains("far more than usual"), "{page}");
}
