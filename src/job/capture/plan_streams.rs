//! Chooses the pipes of a job.

use crate::job::process::inherited;
use crate::job::process::same_file::is_same_output;
use crate::job::spec::stream_plan::{StreamLayout, StreamPlan};
use crate::log::StreamId;

impl StreamPlan {
    /// Chooses the pipes for a job whose output is passed on to runlog's own streams, or is
    /// not `passed_on`.
    pub fn new(layout: StreamLayout, passed_on: bool) -> Self {
        let is_one = || {
            !inherited::was_closed(1)
                && !inherited::was_closed(2)
                && is_same_output(rustix::stdio::stdout(), rustix::stdio::stderr())
        };
        Self {
            merged: match layout {
                StreamLayout::Auto => passed_on && is_one(),
                StreamLayout::Apart => false,
                StreamLayout::Merged => true,
            },
            forced: layout == StreamLayout::Merged,
        }
    }

    /// Returns the streams that have a pipe, in the order of the pipes.
    pub(crate) fn streams(self) -> &'static [StreamId] {
        if self.merged {
            &[StreamId::Both]
        } else {
            &[StreamId::Stdout, StreamId::Stderr]
        }
    }
}
