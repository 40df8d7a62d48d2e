//! A terminal for tests, provided by tmux.

use std::process::Command;

use super::env::{TestEnv, wait_until};

/// Returns whether a program is installed; prints `skipped: …` if it is not.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$1\"", "sh", program])
        .output()
        .is_ok_and(|found| found.status.success());
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// A shell in its own terminal, in the test's directory.
pub(crate) struct Terminal<'a> {
    env: &'a TestEnv,
}

impl<'a> Terminal<'a> {
    /// Starts `sh`. Returns `None` and prints `skipped: …` without tmux.
    pub(crate) fn new(env: &'a TestEnv) -> Option<Self> {
        let terminal = Self::with(env, &["sh"])?;
        // What is typed before the prompt would be shown twice.
        wait_until("the shell prompts", || !terminal.screen().trim().is_empty());
        Some(terminal)
    }

    /// Starts this shell. Returns `None` and prints `skipped: …` without tmux.
    pub(crate) fn with(env: &'a TestEnv, shell: &[&str]) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            eprintln!("skipped: tmux is not installed");
            return None;
        }
        let terminal = Self { env };
        let session = ["new-session", "-d", "-x", "150", "-y", "50"];
        let started = terminal.tmux(&[&session, shell].concat());
        if !started.status.success() {
            let why = String::from_utf8_lossy(&started.stderr).into_owned();
            eprintln!("skipped: tmux cannot be started here: {why}");
            return None;
        }
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> std::process::Output {
        let socket = self.env.path("tmux");
        let mut command = self.env.program("tmux");
        command.arg("-S").arg(socket).args(args).output().unwrap()
    }

    pub(crate) fn keys(&self, keys: &[&str]) {
        let sent = self.tmux(&[&["send-keys"], keys].concat());
        assert!(sent.status.success());
    }

    pub(crate) fn line(&self, text: &str) {
        self.keys(&["-l", text]);
        self.keys(&["Enter"]);
    }

    /// Waits until a line of the screen equals this one.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, line: &str) {
        wait_until(line, || self.screen().lines().any(|shown| shown == line));
    }

    /// Waits until the screen contains this text.
    #[track_caller]
    pub(crate) fn wait_for_text(&self, text: &str) {
        wait_until(text, || self.screen().contains(text));
    }

    /// Waits until the screen no longer contains this text: a part of it may be drawn first.
    #[track_caller]
    pub(crate) fn wait_until_gone(&self, text: &str) {
        wait_until(&format!("no more: {text}"), || {
            !self.screen().contains(text)
        });
    }

    /// Resizes the terminal.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let (x, y) = (columns.to_string(), rows.to_string());
        let done = self.tmux(&["resize-window", "-x", &x, "-y", &y]);
        assert!(done.status.success());
    }

    /// Returns a format variable of tmux, `#{…}` in tmux(1).
    pub(crate) fn format_variable(&self, what: &str) -> String {
        let told = self.tmux(&["display-message", "-p", &format!("#{{{what}}}")]);
        String::from_utf8_lossy(&told.stdout).trim().to_owned()
    }

    /// Returns the modes of the terminal, as stty prints them.
    pub(crate) fn modes(&self) -> String {
        let tty = self.format_variable("pane_tty");
        let told = Command::new("stty").args(["-a", "-F", &tty]).output();
        String::from_utf8_lossy(&told.unwrap().stdout).into_owned()
    }

    /// Returns the screen with its colors.
    pub(crate) fn colors(&self) -> String {
        let screen = self.tmux(&["capture-pane", "-p", "-e"]).stdout;
        String::from_utf8_lossy(&screen).into_owned()
    }

    /// Returns the screen as text.
    pub(crate) fn screen(&self) -> String {
        let screen = self.tmux(&["capture-pane", "-p"]).stdout;
        String::from_utf8_lossy(&screen).into_owned()
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the screen was:\n{}", self.screen().trim_end());
        }
        self.tmux(&["kill-server"]);
    }
}
