//! Samples, what is told of them, and whether they keep their bounds.

use std::fmt;
use std::process::ExitCode;

/// Times in milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Figures(Vec<f64>);

impl Figures {
    pub fn add(&mut self, value: f64) {
        let at = self.0.partition_point(|&other| other < value);
        self.0.insert(at, value);
    }

    pub fn median(&self) -> f64 {
        self.at(50)
    }

    /// The value that `percent` of all do not exceed.
    pub fn at(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, p95) = (self.median(), self.at(95));
        let (least, most) = (self.at(0), self.at(100));
        let n = self.0.len();
        write!(
            f,
            "median {median:.1} ms, p95 {p95:.1}, {least:.1} to {most:.1}, n {n}"
        )
    }
}

/// What must hold, and whether it did.
#[derive(Debug, Default)]
pub struct Bounds {
    broken: u32,
}

impl Bounds {
    /// Prints `value` against the most it may be.
    pub fn at_most(&mut self, what: &str, value: f64, bound: f64, unit: &str) {
        let word = if value <= bound {
            "holds"
        } else {
            self.broken += 1;
            "BROKEN"
        };
        println!("  {word}: {what} {value:.2}{unit}, at most {bound}{unit}");
    }

    /// Prints `value` against the least it may be.
    pub fn at_least(&mut self, what: &str, value: f64, bound: f64) {
        let word = if value >= bound {
            "holds"
        } else {
            self.broken += 1;
            "BROKEN"
        };
        println!("  {word}: {what} {value:.3}, at least {bound}");
    }

    pub fn end(self) -> ExitCode {
        match self.broken {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

/// This machine's, of 1, 5 and 15 minutes.
pub fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let words: Vec<&str> = text.split(' ').take(3).collect();
    words.join(" ")
}
