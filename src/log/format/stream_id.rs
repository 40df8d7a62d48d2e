//! The streams of a job.

/// A stream of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamId {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Both in one pipe, in their exact order.
    Both,
}

impl StreamId {
    /// All streams.
    pub const ALL: [Self; 3] = [Self::Stdout, Self::Stderr, Self::Both];

    /// Returns the index of the stream in [`StreamId::ALL`].
    pub fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
            Self::Both => 2,
        }
    }

    /// Returns the index of the stream's pipe among those of an attempt.
    pub(crate) fn pipe_index(self) -> usize {
        match self {
            Self::Stdout | Self::Both => 0,
            Self::Stderr => 1,
        }
    }

    /// Parses the name of a stream.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.as_str() == name)
    }

    /// Returns the name of the stream in the index.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Both => "both",
        }
    }
}
