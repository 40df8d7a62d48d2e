//! Text for people: tables, timelines and styles.

pub(crate) mod event_line;
pub(crate) mod sanitize;
pub(crate) mod styled_line;
pub(crate) mod table;
pub(crate) mod tables;
pub(crate) mod text;
pub(crate) mod timeline;
pub(crate) mod transitions;
pub(crate) mod verify_report;
