//! What libFuzzer says of a run, as figures.

use serde::Serialize;

/// The head of the table.
pub(crate) const HEAD: &str = "target             execs  execs/s   edges features   corpus crashes";

/// Figures of one target's run.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Figures {
    /// The target.
    pub(crate) target: String,
    /// Inputs run.
    pub(crate) execs: u64,
    /// Inputs per second.
    pub(crate) execs_per_second: u64,
    /// Edges covered.
    pub(crate) edges: u64,
    /// Features: edges by how often they were taken.
    pub(crate) features: u64,
    /// Inputs in the corpus.
    pub(crate) corpus: u64,
    /// Inputs that broke a law.
    pub(crate) crashes: usize,
}

impl Figures {
    /// Reads a log: the last line with coverage, and the statistics at the end.
    pub(crate) fn read(target: &str, log: &str) -> Self {
        let mut figures = Self {
            target: target.to_owned(),
            ..Self::default()
        };
        for line in log.lines() {
            let mut words = line.split_whitespace().peekable();
            while let Some(word) = words.next() {
                let Some(value) = words.peek().map(|next| number(next)) else {
                    break;
                };
                match word {
                    "cov:" => figures.edges = value,
                    "ft:" => figures.features = value,
                    "corp:" => figures.corpus = value,
                    "stat::number_of_executed_units:" => figures.execs = value,
                    "stat::average_exec_per_sec:" => figures.execs_per_second = value,
                    _ => {}
                }
            }
            // Several processes count together: `#123: cov: ..`.
            let counted = line.strip_prefix('#').map_or(0, number);
            figures.execs = figures.execs.max(counted);
        }
        figures
    }

    /// A row of the table.
    pub(crate) fn row(&self) -> String {
        format!(
            "{:14} {:>9} {:>8} {:>7} {:>8} {:>8} {:>7}",
            self.target,
            self.execs,
            self.execs_per_second,
            self.edges,
            self.features,
            self.corpus,
            self.crashes
        )
    }
}

/// The digits at the beginning of a word.
fn number(word: &str) -> u64 {
    let end = word.find(|c: char| !c.is_ascii_digit());
    let digits = word.get(..end.unwrap_or(word.len())).unwrap_or_default();
    digits.parse().unwrap_or(0)
}

/// Which law was broken: the panic's lines and the input's file.
pub(crate) fn panic_of(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let at = lines.iter().position(|line| line.contains("panicked at"));
    let panic = lines.iter().skip(at.unwrap_or(lines.len())).take(6);
    let file = lines
        .iter()
        .filter(|line| line.contains("Test unit written"));
    panic.chain(file).copied().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_end() {
        let log = "#2 INITED cov: 3 ft: 4 corp: 1/1b exec/s: 0\n\
                   #90 DONE cov: 901 ft: 4013 corp: 1602/92Kb lim: 2523 exec/s: 7112\n\
                   stat::number_of_executed_units: 1074044\n\
                   stat::average_exec_per_sec:     7112\n";
        let wanted = Figures {
            target: "t".to_owned(),
            execs: 1_074_044,
            execs_per_second: 7112,
            edges: 901,
            features: 4013,
            corpus: 1602,
            crashes: 0,
        };
        assert_eq!(Figures::read("t", log), wanted);
    }

    #[test]
    fn a_broken_law_is_shown_with_its_input() {
        let log = "a\nthread panicked at x:1:\nlaw\nTest unit written to y\n";
        assert!(panic_of(log).contains("law") && panic_of(log).contains("written to y"));
        assert_eq!(panic_of("nothing"), "");
    }
}
