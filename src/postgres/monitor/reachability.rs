//! Hysteresis over samples, so that one lost packet does not move traffic.

/// Counts good and failed samples in a row. For the first verdict one good sample suffices.
#[derive(Debug)]
pub(super) struct Reachability {
    fail_after: u32,
    pass_after: u32,
    reachable: Option<bool>,
    /// Samples in a row that contradict `reachable`.
    against: u32,
}

impl Reachability {
    pub(super) fn new(fail_after: u32, pass_after: u32) -> Self {
        Self {
            fail_after,
            pass_after,
            reachable: None,
            against: 0,
        }
    }

    /// Returns whether the node is reachable; none until there are enough samples.
    pub(super) fn get(&self) -> Option<bool> {
        self.reachable
    }

    pub(super) fn pass(&mut self) {
        match self.reachable {
            Some(false) => self.speak_against(self.pass_after, true),
            Some(true) | None => {
                self.reachable = Some(true);
                self.against = 0;
            }
        }
    }

    pub(super) fn fail(&mut self) {
        match self.reachable {
            Some(false) => self.against = 0,
            Some(true) | None => self.speak_against(self.fail_after, false),
        }
    }

    fn speak_against(&mut self, needed: u32, verdict: bool) {
        self.against += 1;
        if self.against >= needed {
            self.reachable = Some(verdict);
            self.against = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds one sample per character, `+` good and `-` failed, and returns the last verdict.
    fn verdict(samples: &str) -> Option<bool> {
        let mut reachability = Reachability::new(3, 2);
        for sample in samples.chars() {
            match sample {
                '+' => reachability.pass(),
                _ => reachability.fail(),
            }
        }
        reachability.get()
    }

    #[test]
    fn the_first_answer_counts_at_once() {
        assert_eq!(verdict(""), None);
        assert_eq!(verdict("+"), Some(true));
        assert_eq!(verdict("--+"), Some(true));
    }

    #[test]
    fn it_takes_three_failures_in_a_row_to_be_down() {
        assert_eq!(verdict("--"), None);
        assert_eq!(verdict("---"), Some(false));
        assert_eq!(verdict("+--+--"), Some(true));
        assert_eq!(verdict("+---"), Some(false));
    }

    #[test]
    fn it_takes_two_answers_in_a_row_to_be_up_again() {
        assert_eq!(verdict("---+"), Some(false));
        assert_eq!(verdict("---+-+"), Some(false));
        assert_eq!(verdict("---++"), Some(true));
        assert_eq!(verdict("---++--"), Some(true));
    }
}
