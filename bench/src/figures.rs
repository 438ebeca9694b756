use notification_loadgen::Tally;
use serde::Serialize;

/// What one run of one row came to, in the order in which it is shown.
pub(crate) type Figures = Vec<Figure>;

/// One number, with what it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
}

pub(crate) fn figure(name: &'static str, value: f64) -> Figure {
    Figure { name, value }
}

/// One figure over several runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) name: &'static str,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// As they came.
    pub(crate) runs: Vec<f64>,
}

impl Spread {
    /// # Panics
    ///
    /// If there are no values.
    pub(crate) fn new(name: &'static str, runs: Vec<f64>) -> Self {
        let mut sorted = runs.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            1 => sorted[middle],
            _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
        };
        let (min, max) = (sorted[0], sorted[sorted.len() - 1]);
        Self {
            name,
            median,
            min,
            max,
            runs,
        }
    }

    /// Puts together what several runs of one row came to.
    pub(crate) fn of(runs: &[Figures]) -> Vec<Self> {
        let first = runs.first().map_or(&[][..], Vec::as_slice);
        let all = |index: usize| runs.iter().map(|run| run[index].value).collect();
        let spreads = first.iter().enumerate();
        spreads
            .map(|(index, figure)| Self::new(figure.name, all(index)))
            .collect()
    }
}

/// How ours compares with a peer in one figure: ours divided by the peer's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    pub(crate) name: &'static str,
    /// Of the medians.
    pub(crate) median: f64,
    /// The smallest and the largest of the runs, each of ours with the peer's
    /// run beside it.
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Ratio {
    /// None where a quotient would mean nothing: of what is 0 or should be, of
    /// what the machine did besides, and with next to nothing, such as the
    /// memory of a peer that keeps none.
    pub(crate) fn of(ours: &Spread, peer: &Spread) -> Option<Self> {
        let means_nothing = SHARES.contains(&ours.name) || WRONG.contains(&ours.name);
        if means_nothing || ours.median == 0.0 || peer.median == 0.0 {
            return None;
        }
        let runs = ours.runs.iter().zip(&peer.runs);
        let ratios: Vec<_> = runs.map(|(ours, peer)| ours / peer).collect();
        let Spread { min, max, .. } = Spread::new(ours.name, ratios);
        let ratio = Self {
            name: ours.name,
            median: ours.median / peer.median,
            min,
            max,
        };
        (ratio.median < NEXT_TO_NOTHING).then_some(ratio)
    }
}

/// Whoever has a hundredth has next to nothing.
const NEXT_TO_NOTHING: f64 = 100.0;

/// What a check came to: all of it has to be 0.
pub(crate) fn wrong(tally: Tally) -> [Figure; 3] {
    let [lost, duplicated, out_of_order] = WRONG;
    [
        figure(lost, tally.lost as f64),
        figure(duplicated, tally.duplicated as f64),
        figure(out_of_order, tally.out_of_order as f64),
    ]
}

/// What must not happen to deliveries.
pub(crate) const WRONG: [&str; 3] = ["lost", "duplicated", "out of order"];

/// What else used the processors, in percent of one core.
pub(crate) const SHARES: [&str; 2] = ["load generator CPU %", "others' CPU %"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let check = |runs: &[f64], median: f64, min: f64, max: f64| {
            let spread = Spread::new("x", runs.to_vec());
            assert_eq!((spread.median, spread.min, spread.max), (median, min, max));
            assert_eq!(spread.runs, runs);
        };
        check(&[7.0], 7.0, 7.0, 7.0);
        check(&[3.0, 1.0], 2.0, 1.0, 3.0);
        check(&[9.0, 1.0, 4.0], 4.0, 1.0, 9.0);
        check(&[4.0, 1.0, 9.0, 5.0], 4.5, 1.0, 9.0);
    }

    #[test]
    fn runs_are_put_together_by_figure() {
        let runs = [
            vec![figure("a", 1.0), figure("b", 5.0)],
            vec![figure("a", 3.0), figure("b", 5.0)],
        ];
        let spreads = Spread::of(&runs);
        assert_eq!(
            spreads,
            [
                Spread::new("a", vec![1.0, 3.0]),
                Spread::new("b", vec![5.0, 5.0])
            ]
        );
        assert_eq!(Spread::of(&[]), []);
    }

    #[test]
    fn a_ratio_is_of_medians_and_of_runs_side_by_side() {
        let spread = |name, runs: [f64; 3]| Spread::new(name, runs.to_vec());
        let ours = spread("p50 ms", [1.0, 2.0, 3.0]);
        let peer = spread("p50 ms", [4.0, 4.0, 2.0]);
        let ratio = Ratio::of(&ours, &peer).unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (0.5, 0.25, 1.5));

        let nothing = spread("p50 ms", [0.0; 3]);
        assert_eq!(Ratio::of(&nothing, &peer), None);
        assert_eq!(Ratio::of(&ours, &nothing), None);
        let lost = spread("lost", [1.0; 3]);
        assert_eq!(Ratio::of(&lost, &lost), None);
        let little = spread("p50 ms", [0.01; 3]);
        assert_eq!(Ratio::of(&ours, &little), None);
    }
}
