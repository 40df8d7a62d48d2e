//! Row 17: a job in a run that has had nearly all the jobs that it can have.

use std::fs::{self, File};
use std::process::Command;

use runlog::log::payload::{JobCompleted, JobEnded, JobStarted, JobSubmitted, RunOpened};
use runlog::log::{Draft, Durability, MAX_JOBS, RunLog};
use runlog::volume::{JobId, RunId, Volume};

use super::Row;
use crate::context::{Context, Scratch};
use crate::measure::Target::AtMost;
use crate::measure::{Figure, Line, Mode, Unit, interleave, lockstep};
use crate::process::time_silent;
use crate::serve::Done;

/// Nanoseconds that `status` of the run may take.
const STATUS: f64 = 100e6;

pub struct Shared;

impl Row for Shared {
    fn number(&self) -> u8 {
        17
    }

    fn work(&self) -> &'static str {
        "the 10,000th job of a run"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let root = scratch.sub("ours")?;
        let (rounds, operations) = (context.rounds(), context.n(10, 3));
        // With one round and one operation before those that are measured.
        let measured = rounds * (operations + 1);
        let jobs = context.n(MAX_JOBS, 300) - measured;
        let volume = Volume::create(&root)?;
        for (name, jobs) in [("few", 1), ("many", jobs)] {
            fill(&volume, &name.parse()?, jobs)?;
        }
        let program = context.program("runlog");
        let run = |name: &'static str| {
            let mut run = Command::new(&program);
            run.arg("-C").arg(&root);
            run.args(["run", "--quiet", "--run", name, "--", "true"]);
            time_silent(&mut run)
        };
        let mut modes: [Mode<'_>; 2] = [Box::new(|| run("many")), Box::new(|| run("few"))];
        let samples = lockstep(rounds, operations, &mut modes)?;
        drop(modes);
        let [many, few] = samples.as_slice() else {
            return Err("two modes".into());
        };
        let status = |option: Option<&str>| {
            let mut status = Command::new(&program);
            status
                .arg("-C")
                .arg(&root)
                .args(["status", "many"])
                .args(option);
            status
        };
        let shown = String::from_utf8(status(Some("--json")).output()?.stdout)?;
        let all = jobs + measured;
        if !shown.contains(&format!("\"jobs_total\":{all},\"jobs_failed\":0,")) {
            return Err(format!("not {all} jobs: {shown:.300}").into());
        }
        let mut modes: [Mode<'_>; 1] = [Box::new(|| time_silent(&mut status(None)))];
        let samples = interleave(rounds, &mut modes)?;
        drop(modes);
        let [status] = samples.as_slice() else {
            return Err("one mode".into());
        };
        let what = format!("job number {all} of a run, start to end");
        let few = ("that of one of the first", few);
        Ok(vec![
            Line::times(&what, Unit::Time, many, few, AtMost(1.3)),
            Line::limit(
                &format!("status of a run of {all} jobs"),
                Figure(status.median(), Unit::Time),
                AtMost(STATUS),
            ),
        ])
    }
}

/// Makes a run of so many finished jobs that stays open.
fn fill(volume: &Volume, run: &RunId, jobs: usize) -> Done {
    let log = RunLog::open_or_create(volume, run, None)?;
    let opened = RunOpened {
        name: run.to_string(),
        keep_open: true,
        ..RunOpened::default()
    };
    log.append(&[Draft::new(run, None, &opened)?], Durability::Process)?;
    let submitted = JobSubmitted {
        argv: vec!["true".to_owned()],
        ..JobSubmitted::default()
    };
    let ended = JobEnded {
        attempt: 1,
        exit_code: Some(0),
        ..JobEnded::default()
    };
    let outputs = log.dir().path().join("jobs");
    fs::create_dir(&outputs)?;
    for number in 0..jobs {
        // Without the file of each job's output, the log is folded to know their ids.
        File::create(outputs.join(format!("job-{number}.out")))?;
        let job: JobId = format!("job-{number}").parse()?;
        let job = Some(&job);
        let drafts = [
            Draft::new(run, job, &submitted)?,
            Draft::new(run, job, &JobStarted::default())?,
            Draft::new(run, job, &JobCompleted(&ended))?,
        ];
        log.append(&drafts, Durability::Process)?;
    }
    Ok(())
}
