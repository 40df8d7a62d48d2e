//! The messages of OTLP 1 in their JSON encoding ("JSON Protobuf Encoding": names in lower
//! camel case, ids in hexadecimal, 64-bit integers as strings, enums as numbers).

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// `ExportTraceServiceRequest`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TraceRequest<'a> {
    pub resource_spans: [ResourceSpans<'a>; 1],
}

/// `ResourceSpans`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResourceSpans<'a> {
    pub resource: &'a Resource,
    pub scope_spans: [ScopeSpans; 1],
}

/// `ScopeSpans`.
#[derive(Debug, Serialize)]
pub(crate) struct ScopeSpans {
    pub scope: Scope,
    pub spans: Vec<OtlpSpan>,
}

/// `ExportLogsServiceRequest`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogsRequest<'a> {
    pub resource_logs: [ResourceLogs<'a>; 1],
}

/// `ResourceLogs`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResourceLogs<'a> {
    pub resource: &'a Resource,
    pub scope_logs: [ScopeLogs; 1],
}

/// `ScopeLogs`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScopeLogs {
    pub scope: Scope,
    pub log_records: Vec<LogRecord>,
}

/// `Resource`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Resource {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<KeyValue>,
}

/// `InstrumentationScope`.
#[derive(Debug, Serialize)]
pub(crate) struct Scope {
    name: &'static str,
    version: &'static str,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            name: "runlog",
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// `Span`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OtlpSpan {
    pub trace_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trace_state: String,
    pub span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
    pub name: String,
    pub kind: u8,
    pub start_time_unix_nano: UnixNano,
    pub end_time_unix_nano: UnixNano,
    pub attributes: Vec<KeyValue>,
    pub status: Status,
}

/// `SPAN_KIND_INTERNAL`.
pub(crate) const SPAN_KIND_INTERNAL: u8 = 1;
/// `SPAN_KIND_SERVER`.
pub(crate) const SPAN_KIND_SERVER: u8 = 2;

/// `Status`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl Status {
    /// Returns `STATUS_CODE_OK`.
    pub(crate) fn ok() -> Self {
        Self {
            code: Some(1),
            message: None,
        }
    }

    /// Returns `STATUS_CODE_ERROR`.
    pub(crate) fn error(message: &str) -> Self {
        Self {
            code: Some(2),
            message: Some(message.to_owned()),
        }
    }
}

/// `LogRecord`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogRecord {
    pub time_unix_nano: UnixNano,
    pub observed_time_unix_nano: UnixNano,
    pub severity_number: u8,
    pub severity_text: &'static str,
    pub body: AnyValue,
    pub attributes: Vec<KeyValue>,
    pub trace_id: String,
    pub span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_name: Option<String>,
}

/// `SeverityNumber`, and the text that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Debug,
    Info,
    Warn,
    Error,
}

impl Severity {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warn => 13,
            Self::Error => 17,
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// `fixed64` nanoseconds since 1970; 0 if the time is unknown or earlier.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct UnixNano(String);

impl UnixNano {
    pub(crate) fn new(ts: Timestamp) -> Self {
        let nanos = ts.as_nanosecond().clamp(0, i128::from(u64::MAX));
        Self(nanos.to_string())
    }

    pub(crate) fn unknown() -> Self {
        Self("0".to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// `KeyValue`.
#[derive(Debug, Serialize)]
pub(crate) struct KeyValue {
    pub key: String,
    pub value: AnyValue,
}

impl KeyValue {
    pub(crate) fn new(key: impl Into<String>, value: impl Into<AnyValue>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
        }
    }
}

/// `AnyValue`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum AnyValue {
    String {
        #[serde(rename = "stringValue")]
        value: String,
    },
    Bool {
        #[serde(rename = "boolValue")]
        value: bool,
    },
    Int {
        #[serde(rename = "intValue")]
        value: String,
    },
    Double {
        #[serde(rename = "doubleValue")]
        value: f64,
    },
    Array {
        #[serde(rename = "arrayValue")]
        value: List<AnyValue>,
    },
    Map {
        #[serde(rename = "kvlistValue")]
        value: List<KeyValue>,
    },
    /// No value.
    Empty {},
}

/// `ArrayValue` and `KeyValueList`.
#[derive(Debug, Serialize)]
pub(crate) struct List<T> {
    values: Vec<T>,
}

impl From<&str> for AnyValue {
    fn from(value: &str) -> Self {
        let value = value.to_owned();
        Self::String { value }
    }
}

impl From<bool> for AnyValue {
    fn from(value: bool) -> Self {
        Self::Bool { value }
    }
}

impl From<i64> for AnyValue {
    fn from(value: i64) -> Self {
        let value = value.to_string();
        Self::Int { value }
    }
}

impl From<u64> for AnyValue {
    fn from(value: u64) -> Self {
        // Integers in a log are below 2^53.
        i64::try_from(value).unwrap_or(i64::MAX).into()
    }
}

impl From<&Value> for AnyValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Empty {},
            Value::Bool(value) => (*value).into(),
            Value::Number(n) => match (n.as_i64(), n.as_f64()) {
                (Some(n), _) => n.into(),
                (None, Some(value)) => Self::Double { value },
                (None, None) => Self::Empty {},
            },
            Value::String(text) => text.as_str().into(),
            Value::Array(values) => {
                let values = values.iter().map(Self::from).collect();
                let value = List { values };
                Self::Array { value }
            }
            Value::Object(fields) => {
                let fields = fields.iter();
                let values = fields
                    .map(|(key, value)| KeyValue::new(key, value))
                    .collect();
                let value = List { values };
                Self::Map { value }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_have_the_encoding_of_otlp() {
        let value = json!({"a": [1, -1.5, true, null, "x"], "b": {}});
        let encoded = serde_json::to_value(AnyValue::from(&value)).unwrap();
        let list = json!([
            {"intValue": "1"}, {"doubleValue": -1.5}, {"boolValue": true}, {},
            {"stringValue": "x"},
        ]);
        let expected = json!({"kvlistValue": {"values": [
            {"key": "a", "value": {"arrayValue": {"values": list}}},
            {"key": "b", "value": {"kvlistValue": {"values": []}}},
        ]}});
        assert_eq!(encoded, expected);
    }
}
