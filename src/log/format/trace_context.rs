//! The span of a run or a job in a distributed trace ("W3C Trace Context", level 1, sections 3.2
//! and 3.3).

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The version that runlog writes. It reads a later version as this one (3.2.4).
const VERSION: &str = "00";
/// The version that is invalid (3.2.2.1).
const INVALID_VERSION: &str = "ff";
/// The length of `VERSION-TRACE_ID-PARENT_ID-FLAGS` in bytes.
const TRACEPARENT_LEN: usize = 55;
/// The flag `sampled`: the caller may have recorded the trace (3.2.2.5.1).
const SAMPLED: u8 = 1;
/// The maximum length of a `tracestate`, and of its list, that must be passed on (3.3.1.5).
const MAX_TRACESTATE_BYTES: usize = 512;
const MAX_TRACESTATE_MEMBERS: usize = 32;
const TRACE_ID_BYTES: usize = 16;
const SPAN_ID_BYTES: usize = 8;

/// A span, and the trace it belongs to. Ids are in lowercase hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// The id of the trace.
    pub trace_id: String,
    /// The id of the span of the run or the job.
    pub span_id: String,
    /// The id of the parent span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
    /// Whether the caller records the trace.
    pub sampled: bool,
    /// The `tracestate` of vendors, as it was received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
}

impl TraceContext {
    /// Returns the root span of a new trace; `None` if the system has no random numbers.
    pub fn root() -> Option<Self> {
        Some(Self {
            trace_id: random_id::<TRACE_ID_BYTES>()?,
            span_id: random_id::<SPAN_ID_BYTES>()?,
            parent_span_id: None,
            sampled: true,
            tracestate: None,
        })
    }

    /// Returns a child of the span in the caller's `traceparent`; `None` if that is invalid, or
    /// the system has no random numbers.
    ///
    /// An invalid `tracestate` is left out.
    pub fn from_caller(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let head = traceparent.get(..TRACEPARENT_LEN)?;
        let rest = traceparent.get(TRACEPARENT_LEN..)?;
        let mut fields = head.split('-');
        let version = fields.next().filter(|it| is_hex(it, 1))?;
        let trace_id = fields.next().filter(|it| is_id(it, TRACE_ID_BYTES))?;
        let parent_id = fields.next().filter(|it| is_id(it, SPAN_ID_BYTES))?;
        let flags = fields.next().filter(|it| is_hex(it, 1))?;
        let may_follow = version != VERSION && rest.starts_with('-');
        if version == INVALID_VERSION || !rest.is_empty() && !may_follow {
            return None;
        }
        Some(Self {
            trace_id: trace_id.to_owned(),
            span_id: random_id::<SPAN_ID_BYTES>()?,
            parent_span_id: Some(parent_id.to_owned()),
            sampled: u8::from_str_radix(flags, 16).ok()? & SAMPLED != 0,
            tracestate: tracestate.filter(|it| is_tracestate(it)).map(str::to_owned),
        })
    }

    /// Returns a child of this span; `None` if the system has no random numbers.
    pub fn child(&self) -> Option<Self> {
        Some(Self {
            span_id: random_id::<SPAN_ID_BYTES>()?,
            parent_span_id: Some(self.span_id.clone()),
            ..self.clone()
        })
    }

    /// Returns the `traceparent` to pass to programs that this span calls.
    pub fn traceparent(&self) -> String {
        let flags = u8::from(self.sampled);
        format!("{VERSION}-{}-{}-{flags:02x}", self.trace_id, self.span_id)
    }

    /// Returns whether the ids are valid, which they may not be in a log of another program.
    pub(crate) fn is_valid(&self) -> bool {
        is_id(&self.trace_id, TRACE_ID_BYTES)
            && [Some(&self.span_id), self.parent_span_id.as_ref()]
                .into_iter()
                .flatten()
                .all(|id| is_id(id, SPAN_ID_BYTES))
    }
}

fn is_hex(text: &str, bytes: usize) -> bool {
    text.len() == 2 * bytes && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns whether a text is a valid id. An id of zeros is not (3.2.2.3, 3.2.2.4).
fn is_id(text: &str, bytes: usize) -> bool {
    is_hex(text, bytes) && text.bytes().any(|b| b != b'0')
}

fn is_tracestate(text: &str) -> bool {
    let members = || text.split(',').map(str::trim).filter(|it| !it.is_empty());
    text.len() <= MAX_TRACESTATE_BYTES
        && text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t'))
        && members().all(|it| it.split_once('=').is_some_and(|(key, _)| !key.is_empty()))
        && (1..=MAX_TRACESTATE_MEMBERS).contains(&members().count())
}

fn random_id<const BYTES: usize>() -> Option<String> {
    let mut id = [0; BYTES];
    let flags = rustix::rand::GetRandomFlags::empty();
    let filled = rustix::rand::getrandom(&mut id[..], flags).ok()?;
    let mut hex = String::new();
    for byte in id {
        write!(hex, "{byte:02x}").ok()?;
    }
    (filled == BYTES && is_id(&hex, BYTES)).then_some(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "b7ad6b7169203331";

    fn read(traceparent: &str) -> Option<TraceContext> {
        TraceContext::from_caller(traceparent, None)
    }

    #[test]
    fn valid_parents_are_continued() {
        for (version, flags, rest, sampled) in [
            ("00", "01", "", true),
            ("00", "00", "", false),
            ("00", "03", "", true),
            ("00", "fe", "", false),
            ("01", "01", "", true),
            ("cc", "01", "-what-the-future-will-be-like", true),
            ("fe", "01", "-", true),
        ] {
            let text = format!("{version}-{TRACE}-{PARENT}-{flags}{rest}");
            let it = read(&text).unwrap();
            assert_eq!(it.trace_id, TRACE, "{text}");
            assert_eq!(it.parent_span_id.as_deref(), Some(PARENT));
            assert_ne!(it.span_id, PARENT);
            assert_eq!(it.sampled, sampled, "{text}");
            assert!(it.is_valid());
        }
    }

    #[test]
    fn invalid_parents_are_ignored() {
        let valid = format!("00-{TRACE}-{PARENT}-01");
        let zeros = |n| "0".repeat(n);
        for invalid in [
            String::new(),
            "00".to_owned(),
            valid.replacen("00-", "ff-", 1),
            valid.replacen("00-", "0-", 1),
            valid.replacen("00-", "0x-", 1),
            valid.replace(TRACE, &zeros(32)),
            valid.replace(PARENT, &zeros(16)),
            valid.to_uppercase(),
            valid.replace(TRACE, &TRACE[1..]),
            valid.replace("-01", "-1"),
            valid.replace("-01", "-0x"),
            valid.replace('-', "_"),
            format!("{valid}-00"),
            format!("{valid}.future").replacen("00-", "01-", 1),
            format!(" {valid}"),
            format!("{valid} "),
            format!("00-{}é-{PARENT}-01", &TRACE[2..]),
        ] {
            assert_eq!(read(&invalid), None, "{invalid}");
        }
    }

    #[test]
    fn children_stay_in_trace() {
        let root = TraceContext::root().unwrap();
        let child = root.child().unwrap();
        assert_eq!(child.trace_id, root.trace_id);
        assert_eq!(child.parent_span_id, Some(root.span_id.clone()));
        assert_ne!(child.span_id, root.span_id);
        let again = read(&child.traceparent()).unwrap();
        assert_eq!(again.parent_span_id, Some(child.span_id));
        assert!(again.sampled && root.parent_span_id.is_none());
    }

    #[test]
    fn invalid_tracestate_is_left_out() {
        let parent = format!("00-{TRACE}-{PARENT}-01");
        let state = |text: &str| {
            TraceContext::from_caller(&parent, Some(text))
                .unwrap()
                .tracestate
        };
        for valid in [
            "a=1",
            "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
            "a@b=x y , c=d",
        ] {
            assert_eq!(state(valid).as_deref(), Some(valid));
        }
        let long = format!("a={}", "x".repeat(MAX_TRACESTATE_BYTES));
        let many = vec!["a=1"; MAX_TRACESTATE_MEMBERS + 1].join(",");
        for invalid in ["", ",", "a", "=1", "a=é", "a=\n", &long, &many] {
            assert_eq!(state(invalid), None, "{invalid}");
        }
    }
}
