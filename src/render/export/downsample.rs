//! The resource usage of a job over time, in a limited number of points.

use serde::Serialize;
use serde_json::Value;

/// The maximum number of points for a job. Beyond it, pairs of points are merged.
const MAX_POINTS: usize = 2000;

/// The usage at one moment: milliseconds since 1970, percent of a core, and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Sample {
    pub t: f64,
    pub cpu: f64,
    pub rss: f64,
    /// The bytes read since the start of the job.
    pub read: f64,
    /// The bytes written since the start of the job.
    pub written: f64,
}

/// The usage of a job over time.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct DownsampledSeries {
    points: Vec<Sample>,
    /// The number of samples in a point.
    #[serde(skip)]
    stride: usize,
    #[serde(skip)]
    in_last: usize,
}

impl Default for DownsampledSeries {
    fn default() -> Self {
        Self {
            points: Vec::new(),
            stride: 1,
            in_last: 1,
        }
    }
}

impl Sample {
    /// Creates a point from the usage in a sample event.
    pub(crate) fn new(t: f64, job: &Value) -> Self {
        let number = |key: &str| job.get(key).and_then(Value::as_f64).unwrap_or(0.0);
        Self {
            t,
            cpu: number("cpu_percent"),
            rss: number("rss_bytes"),
            read: number("read_bytes"),
            written: number("written_bytes"),
        }
    }

    /// Merges two points, keeping the peaks of both.
    fn merge(self, later: Self) -> Self {
        Self {
            cpu: self.cpu.max(later.cpu),
            rss: self.rss.max(later.rss),
            ..later
        }
    }
}

impl DownsampledSeries {
    pub(crate) fn push(&mut self, point: Sample) {
        match self.points.last_mut() {
            Some(last) if self.in_last < self.stride => {
                *last = last.merge(point);
                self.in_last += 1;
                return;
            }
            _ => {}
        }
        self.points.push(point);
        self.in_last = 1;
        if self.points.len() > MAX_POINTS {
            self.stride *= 2;
            let pairs = self.points.chunks(2).filter_map(|pair| match pair {
                [a, b] => Some(a.merge(*b)),
                [a] => Some(*a),
                _ => None,
            });
            self.points = pairs.collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downsampling_keeps_peak_and_order() {
        let mut series = DownsampledSeries::default();
        for n in 0..100_000 {
            let cpu = if n == 54_321 { 777.0 } else { 1.0 };
            series.push(Sample {
                t: f64::from(n),
                cpu,
                rss: 1.0,
                read: f64::from(n),
                written: 0.0,
            });
        }
        assert!(series.points.len() <= MAX_POINTS + 1);
        assert!(series.points.is_sorted_by(|a, b| a.t < b.t));
        assert_eq!(series.points.iter().filter(|p| p.cpu > 700.0).count(), 1);
        assert!(series.points.last().unwrap().t > 99_000.0);
    }
}
