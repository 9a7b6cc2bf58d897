//! The tables that come out.

use std::collections::BTreeMap;

use super::{
    cases::Case,
    round::{Sample, What},
};

/// Rows in the order in which they were first measured.
#[derive(Default)]
pub(super) struct Table {
    order: Vec<(What, String)>,
    values: BTreeMap<(What, String), [Vec<f64>; 2]>,
    cpu: BTreeMap<(What, String), [Vec<[f64; 3]>; 2]>,
}

impl What {
    const fn words(self) -> &'static str {
        match self {
            Self::Submit => "submit, jobs/s",
            Self::WorkOff => "work off, jobs/s",
            Self::Both => "both at once, jobs/s",
            Self::P50 => "submit to start, p50 ms",
            Self::P99 => "submit to start, p99 ms",
            Self::BrokerMemory => "memory of the broker, MiB",
            Self::StoreMemory => "memory of the store, MiB",
            Self::WorkerMemory => "memory of the worker, MiB",
        }
    }

    /// What the ratio should be; where Haul is measured alone, the figure.
    const fn target(self, alone: bool) -> &'static str {
        match self {
            Self::P99 if alone => "≤ 10 ms",
            _ if alone => "",
            Self::Submit => "≥ 0.85",
            Self::WorkOff => "≥ 0.6",
            Self::Both => "≥ 0.7",
            Self::P50 => "≤ 1.5",
            Self::P99 => "≤ 2",
            Self::BrokerMemory | Self::StoreMemory | Self::WorkerMemory => "",
        }
    }
}

impl Table {
    pub(super) fn add(&mut self, case: &Case, side: &str, samples: Vec<Sample>) {
        let place = usize::from(side != "bare");
        for sample in samples {
            let row = (sample.what, case.name.clone());
            if !self.order.contains(&row) {
                self.order.push(row.clone());
            }
            self.values.entry(row.clone()).or_default()[place].push(sample.value);
            if let Some(cpu) = sample.cpu {
                self.cpu.entry(row).or_default()[place].push(cpu);
            }
        }
    }

    pub(super) fn print(&self) {
        println!("| what | case | bare | Haul | Haul / bare (range) | target |");
        println!("|---|---|---:|---:|---:|---|");
        for row in &self.order {
            let [bare, haul] = &self.values[row];
            let (what, case) = row;
            println!(
                "| {} | {case} | {} | {} | {} | {} |",
                what.words(),
                number(median(bare)),
                number(median(haul)),
                ratio(bare, haul),
                what.target(bare.is_empty()),
            );
        }
        println!("\nProcessor time for each job, µs (bare → Haul):\n");
        println!("| what | case | the program's | the broker's | the store's |");
        println!("|---|---|---:|---:|---:|");
        for row in self.order.iter().filter(|row| self.cpu.contains_key(*row)) {
            let of = |n: usize| {
                let [bare, haul] = self.cpu[row]
                    .each_ref()
                    .map(|all| median(&all.iter().map(|cpu| cpu[n]).collect::<Vec<_>>()));
                format!("{} → {}", number(bare), number(haul))
            };
            let (what, case) = row;
            println!(
                "| {} | {case} | {} | {} | {} |",
                what.words(),
                of(0),
                of(1),
                of(2)
            );
        }
    }
}

/// Round by round, for the two of a round met the same weather.
fn ratio(bare: &[f64], haul: &[f64]) -> String {
    let mut ratios: Vec<f64> = bare
        .iter()
        .zip(haul)
        .map(|(bare, haul)| haul / bare)
        .collect();
    ratios.sort_by(f64::total_cmp);
    match ratios.as_slice() {
        [] => String::new(),
        [only] => format!("{only:.2}"),
        [least, .., most] => format!("**{:.2}** ({least:.2}–{most:.2})", median(&ratios)),
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "–".to_owned()
    } else if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}
