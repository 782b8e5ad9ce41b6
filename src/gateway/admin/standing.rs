//! The standing of a node with its selector, in words.

use tokio::time::Instant;

use tidegate_steering::{Ranked, Ranking, Standing};

/// All candidates: first those that get requests, in the order in which they are tried, then the
/// others.
pub(super) fn order(ranking: &Ranking) -> Vec<usize> {
    let mut order = ranking.choose(|_| true).to_vec();
    for ranked in ranking.best_first() {
        if !order.contains(&ranked.candidate) {
            order.push(ranked.candidate);
        }
    }
    order
}

/// Explains a node's place in the order. `probe` names what decides whether it works again;
/// `trusted` describes a node that is trusted.
pub(super) fn why(
    ranked: &Ranked,
    probe: &str,
    trusted: impl FnOnce() -> String,
    now: Instant,
) -> String {
    let left = ranked
        .changes_at
        .map(|at| at.saturating_duration_since(now));
    let left = left.unwrap_or_default().as_secs_f64();
    match ranked.standing {
        Standing::Drained => "drained by an operator".to_owned(),
        Standing::Failed => format!("it failed; looked at again in {left:.1} s"),
        Standing::ProbeDue => format!("it failed; the next {probe} decides"),
        Standing::OnProbation => {
            format!(
                "it failed recently; trusted again in {left:.1} s if it does not fail once more"
            )
        }
        Standing::Trusted => trusted(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use tidegate_steering::{Selector, SteeringSettings};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_is_not_asked_comes_last_and_everybody_is_told_why() {
        let now = Instant::now();
        let settings = SteeringSettings::default();
        let mut selector = Selector::new(settings, 0, &[MS, 2 * MS, 3 * MS], now);
        selector.drain(0, true);
        selector.lose(1, now);
        let ranking = selector.ranking(now);
        assert_eq!(order(&ranking), [2, 0, 1]);
        let told = |ranking: &Ranking, candidate, now| {
            let well = || "well".to_owned();
            why(ranking.of(candidate), "check", well, now)
        };
        assert_eq!(told(&ranking, 0, now), "drained by an operator");
        assert!(told(&ranking, 1, now).starts_with("it failed; looked at again in "));
        assert_eq!(told(&ranking, 2, now), "well");
        let due = ranking.valid_until();
        let ranking = selector.ranking(due);
        assert_eq!(told(&ranking, 1, due), "it failed; the next check decides");
    }
}
