//! The job that the arguments of `runlog run` describe.

use std::collections::BTreeMap;
use std::env::VarError;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::args::Args;
use super::trace::{NewTrace, job_trace};
use super::unlogged;
use crate::cli::exit::Code;
use crate::cli::redaction::secret_env;
use crate::cli::usage_error::UsageError;
use crate::cli::value_parsers::pairs;
use crate::job::{
    AfterJob, DurationBounds, Guards, JobSpec, OutputDelivery, OutputMode, Redaction,
};
use crate::telemetry::Dependency;
use crate::volume::{JobId, LockName, RunId};

/// The minimum interval of `--sample`.
const MIN_SAMPLE_INTERVAL: Duration = Duration::from_millis(10);

impl Args {
    /// Returns the job to run.
    ///
    /// # Errors
    /// The arguments contradict each other, or name things that do not exist.
    pub(crate) fn job_spec(&self) -> Result<JobSpec> {
        if self
            .command
            .first()
            .is_some_and(|program| program.is_empty())
        {
            return Err(anyhow!(UsageError {
                message: "the command is empty".to_owned(),
                hint: "give a command: `runlog run COMMAND`",
            }));
        }
        let variable = |name: &str| std::env::var_os(name);
        let env = pairs("--env", &self.env_with_values()?)?;
        let redaction = Redaction::new(&self.redact, &variable, secret_env(&env));
        let mut redaction = redaction.map_err(|e| UsageError {
            message: format!("--redact: {e}"),
            hint: "give a regular expression, or ENV:NAME for the value of a variable",
        })?;
        if self.no_default_redact {
            redaction.without_variables();
        }
        self.check_ids(&redaction)?;
        for (key, _) in &env {
            if key.starts_with("RUNLOG_") {
                return Err(anyhow!(UsageError {
                    message: format!("--env {key}: names that start with RUNLOG_ are reserved"),
                    hint: "use another name",
                }));
            }
        }
        let cwd = self.recorded_dir()?;
        let dependencies = self.dependencies(&cwd)?;
        let after = match (&self.run, self.close) {
            (None, _) => AfterJob::CloseOwn,
            (Some(_), true) => AfterJob::CloseIfLast,
            (Some(_), false) => AfterJob::StayOpen,
        };
        let delivery = self.delivery();
        let new_trace = if self.trace {
            NewTrace::Start
        } else {
            NewTrace::No
        };
        Ok(JobSpec {
            trace: job_trace(&env, new_trace, after),
            argv: self.command.clone(),
            cwd,
            chdir: self.cwd.clone(),
            env,
            record_env: self.record_env,
            inputs: pairs("--input", &self.input)?,
            labels: pairs("--label", &self.label)?,
            job_id: self.job.clone(),
            lock: None,
            rollback: self.rollback.clone(),
            hooks: self.hooks.hooks(delivery),
            timeout: self.timeout.filter(|timeout| !timeout.is_zero()),
            bounds: self.bounds()?,
            kill_after: self.kill_after,
            retry: self.retry.policy(),
            sample: self
                .sample
                .filter(|d| !d.is_zero())
                .map(|d| d.max(MIN_SAMPLE_INTERVAL)),
            guards: Guards {
                free_disk_bytes: self.require_free_disk,
                free_mem_bytes: self.require_free_mem,
                max_load: self.max_load,
            },
            dependencies,
            require: self.require.clone(),
            output: OutputMode {
                capture: !self.no_capture,
                limit: self.capture_limit,
                pass_on: delivery == OutputDelivery::AsItArrives,
                redact_passed_on: self.redact_passed_on,
                streams: self.streams.plan(delivery),
            },
            redaction,
            rerun_of: self.again.rerun.as_ref().map(|rerun| rerun.of.clone()),
            after,
            detached: self.detach,
            log_optional: unlogged::is_allowed(self, Code::Runlog),
        })
    }

    /// Returns the limits for the duration of a successful attempt.
    fn bounds(&self) -> Result<DurationBounds> {
        let bounds = DurationBounds {
            min: self.fail_if_shorter,
            max: self.fail_if_longer.filter(|max| !max.is_zero()),
        };
        match (bounds.min, bounds.max) {
            (Some(min), Some(max)) if min > max => Err(anyhow!(UsageError {
                message: "--fail-if-shorter is more than --fail-if-longer".to_owned(),
                hint: "swap the two durations",
            })),
            _ => Ok(bounds),
        }
    }

    /// Returns the values of `--env` as `KEY=VALUE`; a missing value comes from the environment.
    fn env_with_values(&self) -> Result<Vec<String>> {
        let with_value = |text: &String| {
            if text.is_empty() || text.contains('=') {
                return Ok(text.clone());
            }
            let value = std::env::var(text).map_err(|e| UsageError {
                message: format!("--env {text}: {e}"),
                hint: match e {
                    VarError::NotPresent => "set the variable, or give its value: --env KEY=VALUE",
                    VarError::NotUnicode(_) => {
                        "omit the option: the command inherits the variable anyway"
                    }
                },
            })?;
            Ok(format!("{text}={value}"))
        };
        self.env.iter().map(with_value).collect()
    }

    /// Returns the targets of `--probe`, the last one for each name. Relative paths start at
    /// `cwd`.
    fn dependencies(&self, cwd: &Path) -> Result<Vec<Dependency>> {
        let mut named = BTreeMap::new();
        for probe in &self.probe {
            named.insert(&*probe.name, probe.clone().resolved_in(cwd));
        }
        for name in &self.require {
            if !named.contains_key(&**name) {
                return Err(anyhow!(UsageError {
                    message: format!("--require {name}: there is no such probe"),
                    hint: "declare it with --probe NAME=SPEC, or in [telemetry.probes] of the \
                           settings",
                }));
            }
        }
        Ok(named.into_values().collect())
    }

    /// Rejects IDs and probe names that contain a secret, because references to them would fail
    /// if they were masked.
    fn check_ids(&self, redaction: &Redaction) -> Result<()> {
        let ids = [
            ("--run", self.run.as_ref().map(RunId::as_str)),
            ("--job", self.job.as_ref().map(JobId::as_str)),
            ("--lock", self.lock.given_name().map(LockName::as_str)),
        ];
        let probes = self
            .probe
            .iter()
            .map(|probe| ("--probe", Some(&*probe.name)));
        for (flag, id) in ids.into_iter().chain(probes) {
            if let (Some(id), Some(redactor)) = (id, redaction.specified())
                && redactor.is_match(id)
            {
                return Err(anyhow!(UsageError {
                    message: format!("{flag}: the ID contains a secret that --redact masks"),
                    hint: "choose an ID without it",
                }));
            }
        }
        Ok(())
    }

    /// Returns the job's working directory as an absolute path, as it is recorded.
    fn recorded_dir(&self) -> Result<PathBuf> {
        if let Some(dir) = self.cwd.as_ref().filter(|dir| dir.is_absolute()) {
            return Ok(dir.clone());
        }
        // A directory that was removed has no path any more, but the job can run in it.
        let here = std::env::current_dir()
            .or_else(|_| std::fs::read_link("/proc/self/cwd"))
            .context("cannot determine the current directory")?;
        Ok(match &self.cwd {
            Some(dir) => here.join(dir),
            None => here,
        })
    }
}
