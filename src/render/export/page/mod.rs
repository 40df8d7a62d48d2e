//! The frame of a self-contained page: its policy, its style and script, and its data.
//!
//! A page contains its data as JSON. Its script creates elements from that, never markup, so
//! that job output cannot become part of the page. The policy allows only this script and this
//! style, identified by their hashes, and forbids loading anything.

use std::io;
use std::io::Write;

use serde::Serialize;

use crate::render::human::style::escape_controls;

const STYLE: &str = include_str!("page.css");
/// The SHA-256 of the style in Base64 ("Content Security Policy Level 3", hash-source).
const STYLE_HASH: &str = "0Qt+3Un3pFzdQLlyWkvrxQB4Mz6G5KLTTH7RFxvAxTQ=";

/// The script of a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageScript {
    text: &'static str,
    /// The SHA-256 of the text in Base64.
    hash: &'static str,
}

/// The script of the page of a run.
pub(crate) const RUN_SCRIPT: PageScript = PageScript {
    text: concat!(
        include_str!("common.js"),
        include_str!("terminal.js"),
        include_str!("run.js")
    ),
    hash: "PgBbSKcyOljM9tNAL5/3GR37LRhPigSqrjsvz7VAGSk=",
};

/// The script of the page of several runs.
pub(crate) const RUNS_SCRIPT: PageScript = PageScript {
    text: concat!(include_str!("common.js"), include_str!("runs.js")),
    hash: "4G8qkQQyjuCsEuSKOa4iOoeiJ+FILdvnf+CZwWx1U14=",
};

/// Writes a page.
///
/// # Errors
/// `out` cannot be written.
pub(crate) fn write_page(
    out: &mut dyn Write,
    title: &str,
    script: PageScript,
    data: &impl Serialize,
) -> io::Result<()> {
    let PageScript { text, hash } = script;
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         script-src 'sha256-{hash}'; style-src 'sha256-{STYLE_HASH}'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"generator\" content=\"runlog\">\n<title>{}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main id=\"page\"></main>\n\
         <noscript>This page needs JavaScript, which is disabled here.</noscript>",
        markup(&escape_controls(title))
    )?;
    out.write_all(b"<script type=\"application/json\" id=\"data\">")?;
    serde_json::to_writer(InScript(out), data)?;
    writeln!(out, "</script>\n<script>{text}</script>\n</body>\n</html>")
}

/// A writer of JSON into a script element, in which only `<` is special ("HTML", 13.2.5.4). In
/// JSON, it occurs only in strings, where it can be escaped.
struct InScript<'a>(&'a mut dyn Write);

impl Write for InScript<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut parts = bytes.split(|byte| *byte == b'<');
        self.0.write_all(parts.next().unwrap_or_default())?;
        for part in parts {
            self.0.write_all(b"\\u003c")?;
            self.0.write_all(part)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn markup(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// Returns the hash that `sha256sum` of coreutils computes.
    fn hash(text: &str) -> String {
        let mut sum = Command::new("sha256sum")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = sum.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        let digest = String::from_utf8(sum.wait_with_output().unwrap().stdout).unwrap();
        let digits: Vec<u8> = (0..32)
            .map(|n| u8::from_str_radix(&digest[2 * n..2 * n + 2], 16).unwrap())
            .collect();
        STANDARD.encode(digits)
    }

    #[test]
    fn policy_has_hashes_of_scripts_and_style() {
        assert_eq!(hash(STYLE), STYLE_HASH);
        for script in [RUN_SCRIPT, RUNS_SCRIPT] {
            assert_eq!(hash(script.text), script.hash);
        }
    }
}
