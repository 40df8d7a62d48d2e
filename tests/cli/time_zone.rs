//! Times are shown in the time zone of the system or of `TZ`.

use std::process::Command;

use crate::support::env::TestEnv;
use crate::support::process::finish;

fn in_zone<'a>(command: &'a mut Command, zone: Option<&str>) -> &'a mut Command {
    match zone {
        Some(zone) => command.env("TZ", zone),
        None => command.env_remove("TZ"),
    }
}

#[test]
fn local_times_match_date_command() {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "it", "--", "true"]);
    let events = env.json_lines(&["tail", "it", "-n", "all", "--json"]);
    let opened = events[0]["ts"].as_str().unwrap();
    let rule = "XYZ-5:30XYD,M3.5.0,M10.5.0/3";
    for zone in [None, Some(""), Some("UTC"), Some(rule), Some("Asia/Tokyo")] {
        let mut date = env.program("date");
        date.args(["-d", opened, "+%Y-%m-%d %H:%M:%S %:z"]);
        let time = finish(in_zone(&mut date, zone)).stdout();
        let story = finish(in_zone(&mut env.command(&["replay", "it"]), zone)).stdout();
        assert!(story.contains(time.trim()), "{zone:?}: {time}{story}");
    }
}
