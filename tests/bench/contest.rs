//! Contenders that take turns.

use std::path::PathBuf;

use anyhow::Result;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::load::{CLIENTS, Pgbench, Sample, Wrk};
use super::report::say;

/// The number and the duration of rounds.
pub(crate) struct Pace {
    pub(crate) rounds: usize,
    pub(crate) seconds: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            rounds: 15,
            seconds: 1,
        }
    }
}

impl Pace {
    /// Fewer and longer rounds, for contenders that need a while to warm up.
    pub(crate) fn slower(&self) -> Self {
        Self {
            rounds: self.rounds.div_ceil(3),
            seconds: self.seconds * 4,
        }
    }
}

/// One side of a comparison.
pub(crate) struct Contender {
    name: String,
    run: Box<dyn Fn() -> BoxFuture<'static, Result<Sample>>>,
}

impl Contender {
    /// A server under `wrk`.
    pub(crate) fn server(name: impl Into<String>, wrk: Wrk) -> Self {
        let run = move || {
            let wrk = wrk.clone();
            async move { wrk.run().await }.boxed()
        };
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }

    /// Whatever produces samples.
    pub(crate) fn of(
        name: impl Into<String>,
        run: impl Fn() -> BoxFuture<'static, Result<Sample>> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }

    /// PostgreSQL under `pgbench`, with as many clients as elsewhere and prepared statements.
    pub(crate) fn postgres(
        name: impl Into<String>,
        script: PathBuf,
        pace: &Pace,
        url: String,
    ) -> Self {
        let load = Pgbench {
            script,
            seconds: pace.seconds,
            url,
            protocol: "prepared",
            clients: CLIENTS,
        };
        Self::pgbench(name, load)
    }

    /// PostgreSQL, or a pooler in front of it, under `pgbench`.
    pub(crate) fn pgbench(name: impl Into<String>, load: Pgbench) -> Self {
        let run = move || {
            let load = load.clone();
            async move { load.run().await }.boxed()
        };
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// One contender's rounds and their medians.
#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    pub(crate) name: String,
    pub(crate) per_second: f64,
    pub(crate) p99_ms: f64,
    /// The rate of every round.
    rates: Vec<f64>,
    /// The cores that its server took in every round, if it was watched.
    cores: Vec<f64>,
}

/// Lets contenders take turns, round by round; every other round in reverse, so that none always
/// follows the same one.
pub(crate) async fn hold(pace: &Pace, contenders: &[Contender]) -> Result<Vec<Rounds>> {
    let mut samples = vec![Vec::new(); contenders.len()];
    for round in 0..pace.rounds {
        let mut turns: Vec<usize> = (0..contenders.len()).collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for turn in turns {
            let Contender { name, run } = &contenders[turn];
            let sample = run().await?;
            let (rate, p99) = (sample.per_second, sample.p99_ms.unwrap_or(f64::NAN));
            say(&format!(
                "  {:>2}  {name:<40} {rate:>9.0}/s   p99 {p99:>7.3} ms",
                round + 1
            ));
            samples[turn].push(sample);
        }
    }
    let named = contenders.iter().zip(samples);
    Ok(named
        .map(|(contender, samples)| Rounds::of(&contender.name, &samples))
        .collect())
}

impl Rounds {
    fn of(name: &str, samples: &[Sample]) -> Self {
        let rates: Vec<_> = samples.iter().map(|sample| sample.per_second).collect();
        let tails = sorted(samples.iter().filter_map(|sample| sample.p99_ms));
        Self {
            name: name.to_owned(),
            per_second: median(&sorted(rates.iter().copied())),
            p99_ms: median(&tails),
            rates,
            cores: samples.iter().filter_map(|sample| sample.cores).collect(),
        }
    }

    /// The lowest and the highest rate.
    pub(crate) fn range(&self) -> (f64, f64) {
        let rates = sorted(self.rates.iter().copied());
        (rates[0], rates[rates.len() - 1])
    }

    /// The speed relative to another: the median of the ratios of each round, because a slow moment
    /// of the machine affects both.
    pub(crate) fn against(&self, other: &Self) -> f64 {
        let pairs = self.rates.iter().zip(&other.rates);
        median(&sorted(pairs.map(|(one, other)| one / other)))
    }

    /// The same per second of CPU time; NaN unless both servers were watched.
    pub(crate) fn against_by_cpu(&self, other: &Self) -> f64 {
        let pairs = self.per_cpu_second().zip(other.per_cpu_second());
        median(&sorted(pairs.map(|(one, other)| one / other)))
    }

    /// The cores that its server took; NaN unless it was watched.
    pub(crate) fn cores(&self) -> f64 {
        median(&sorted(self.cores.iter().copied()))
    }

    fn per_cpu_second(&self) -> impl Iterator<Item = f64> {
        let rounds = self.rates.iter().zip(&self.cores);
        rounds.map(|(rate, cores)| rate / cores)
    }
}

pub(crate) fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// The median of sorted numbers; NaN if there are none.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}
