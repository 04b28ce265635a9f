//! Adaptive numbers of samples: every example is sampled until its class is known at a stated error level, or to a cap.
//!
//! The decision is [`bayeslora_metrics::Decider`]'s. Samples are drawn in rounds, of growing size, for all undecided examples
//! together, so that matrix products stay large. What a round draws beyond an example's decision is thrown away: as noise
//! belongs to its address, results are those of drawing and stopping one by one.

use std::ops::Range;

use bayeslora_adapters::{Coupling, Noise, Stream};
use bayeslora_metrics::{Decider, softmax};
use bayeslora_models::{Hidden, Samples};
use ndarray::{Array2, Array3, ArrayView2, Axis};

use crate::error::{Error, Result};
use crate::member::Member;
use crate::predictor::Predictor;
use crate::prefix::Sentences;
use crate::readout::sampled;
use crate::shapes::samples_of;

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopping {
    /// Error level of a decision.
    pub alpha: f64,
    /// Samples of an example at most.
    pub most: u32,
    /// How samples are coupled; a decision is taken after whole groups only.
    pub coupling: Coupling,
}

impl Stopping {
    /// Refuses a level that is none and a cap that cuts a group.
    pub(crate) fn check(&self) -> Result<()> {
        Decider::new(2, self.alpha, 1)?;
        let group = self.coupling.group();
        if self.most == 0 || !self.most.is_multiple_of(group) {
            let most = self.most;
            return Err(Error::Parameter {
                what: format!("samples at most: {most}"),
                expected: format!("expected a positive multiple of {group}, the samples of a coupled group"),
            });
        }
        Ok(())
    }
}

/// What is known of an example when its sampling stops.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The class of the largest mean probability over infinitely many samples, unless an error of level `alpha` happened; while
    /// undecided, the largest so far.
    pub class: usize,
    /// Whether the class was decided before the cap.
    pub decided: bool,
    /// Mean probabilities of the samples.
    pub probabilities: Vec<f64>,
    /// Logits `[samples, classes]` up to the decision.
    pub logits: Array2<f32>,
}

impl Decision {
    /// Samples used.
    pub fn samples(&self) -> u32 {
        u32::try_from(self.logits.nrows()).unwrap_or(u32::MAX)
    }
}

/// Samples until `stopping` says to stop; `draw` gives the logits `[samples, places, classes]` of numbered samples for the
/// examples at some places.
pub(crate) fn decide(
    examples: usize,
    classes: usize,
    stopping: Stopping,
    mut draw: impl FnMut(&[usize], Range<u32>) -> Result<Array3<f32>>,
) -> Result<Vec<Decision>> {
    stopping.check()?;
    let fresh = Decider::new(classes, stopping.alpha, stopping.coupling.group())?;
    let mut states = vec![(fresh.clone(), Vec::new()); examples];
    let mut places: Vec<usize> = (0..examples).collect();
    let mut numbers = 0..fresh.earliest().max(1).min(stopping.most);
    while !places.is_empty() && !numbers.is_empty() {
        let logits = draw(&places, numbers.clone())?;
        for (column, &place) in places.iter().enumerate() {
            observe(&mut states[place], &logits.index_axis(Axis(1), column))?;
        }
        places.retain(|&place| states[place].0.decided().is_none());
        // Half as many again, in whole groups.
        let next = (numbers.end / 2).next_multiple_of(stopping.coupling.group());
        numbers = numbers.end..numbers.end.saturating_add(next).min(stopping.most);
    }
    let finish = |(decider, logits): (Decider, Vec<f32>)| {
        let shape = (logits.len() / classes, 1, classes);
        let probabilities = decider.means();
        let largest = (0..classes).fold(0, |best, c| if probabilities[c] > probabilities[best] { c } else { best });
        Ok(Decision {
            class: decider.decided().unwrap_or(largest),
            decided: decider.decided().is_some(),
            logits: samples_of(shape, logits)?.remove_axis(Axis(1)),
            probabilities,
        })
    };
    states.into_iter().map(finish).collect()
}

/// Feeds samples to an example until it is decided, and keeps their logits.
fn observe((decider, kept): &mut (Decider, Vec<f32>), logits: &ArrayView2<'_, f32>) -> Result<()> {
    for sample in logits.outer_iter() {
        if decider.decided().is_some() {
            break;
        }
        let sample = sample.to_vec();
        decider.observe(&softmax(&sample))?;
        kept.extend(sample);
    }
    Ok(())
}

impl Predictor<'_> {
    /// Logits of numbered, coupled samples for the sentences at `places`.
    ///
    /// # Shapes
    /// `[samples, places, classes]`.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn draws(
        &self,
        member: &Member,
        coupling: Coupling,
        numbers: Range<u32>,
        sentences: &Sentences,
        places: &[usize],
    ) -> Result<Array3<f32>> {
        let noise = Noise::new(self.seed, Stream::Predictive).coupled(coupling);
        let shape = (numbers.len(), places.len(), sentences.classes(&member.head));
        let (values, lengths, addresses) = sentences.gather(places)?;
        let hidden = Hidden { values: (&values).into(), lengths: &lengths, examples: &addresses };
        let samples = Samples::Drawn { noise, numbers };
        let advance = |rows| self.progress.advance(rows);
        let logits = sampled(self.sampler(member), sentences, places, hidden, &samples, &advance)?;
        samples_of(shape, logits)
    }

    /// Samples every sentence until its class is known at level `alpha`, up to [`samples`](Self::samples) times.
    ///
    /// # Errors
    /// When `alpha` is not in `(0, 1)`, when the cap is no positive multiple of the coupled group, or when a tensor operation
    /// fails.
    pub fn decisions(
        &self,
        member: &Member,
        coupling: Coupling,
        alpha: f64,
        sentences: &Sentences,
    ) -> Result<Vec<Decision>> {
        let stopping = Stopping { alpha, most: self.samples, coupling };
        decide(sentences.len(), sentences.classes(&member.head), stopping, |places, numbers| {
            self.draws(member, coupling, numbers, sentences, places)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: usize = 2;

    /// Logits of sample `number` for an example: the lead of class 1 grows with the example and varies with the number.
    fn logit(place: usize, number: u32) -> [f32; CLASSES] {
        let wave = f32::from(u16::try_from(number * 7919 % 13).unwrap()) / 6.0 - 1.0;
        [0.0, 0.4 * place as f32 - 1.0 + wave]
    }

    fn draw(places: &[usize], numbers: Range<u32>) -> Array3<f32> {
        let shape = (numbers.len(), places.len(), CLASSES);
        Array3::from_shape_fn(shape, |(sample, column, class)| {
            logit(places[column], numbers.start + u32::try_from(sample).unwrap())[class]
        })
    }

    #[test]
    fn rounds_stop_where_one_by_one_stops() {
        for coupling in ["independent", "antithetic", "balanced-8"] {
            let coupling: Coupling = coupling.parse().unwrap();
            let stopping = Stopping { alpha: 0.05, most: 400, coupling };
            let mut drawn = 0;
            let decisions = decide(8, CLASSES, stopping, |places, numbers| {
                assert!(numbers.start.is_multiple_of(coupling.group()));
                drawn += places.len() * numbers.len();
                Ok(draw(places, numbers))
            });
            let mut used = 0;
            for (place, decision) in decisions.unwrap().iter().enumerate() {
                let mut decider = Decider::new(CLASSES, 0.05, coupling.group()).unwrap();
                let mut samples = 0;
                while samples < 400 && decider.decided().is_none() {
                    decider.observe(&softmax(&logit(place, samples))).unwrap();
                    samples += 1;
                }
                used += samples as usize;
                assert_eq!((decision.samples(), decision.decided), (samples, decider.decided().is_some()), "{place}");
                assert_eq!(decision.probabilities, decider.means());
                assert!(decision.samples().is_multiple_of(coupling.group()));
                if decision.decided {
                    assert_eq!(decision.class, usize::from(place > 2), "{place}");
                }
            }
            // What is thrown away is less than a half of what is used, and one group each.
            assert!(drawn <= used * 3 / 2 + 8 * coupling.group() as usize, "{drawn} for {used}");
        }
    }

    #[test]
    fn a_cap_that_cuts_a_group_and_a_level_that_is_none_are_refused() {
        let refused = |alpha, most, coupling: &str| {
            let stopping = Stopping { alpha, most, coupling: coupling.parse().unwrap() };
            decide(1, CLASSES, stopping, |places, numbers| Ok(draw(places, numbers))).unwrap_err().to_string()
        };
        assert_eq!(refused(1.5, 20, "independent"), "alpha is 1.5, expected a number in (0, 1)");
        assert_eq!(
            refused(0.05, 20, "balanced-16"),
            "samples at most: 20; expected a positive multiple of 16, the samples of a coupled group"
        );
        assert!(refused(0.05, 0, "independent").contains("0; expected a positive multiple of 1"));
        let none = Stopping { alpha: 0.05, most: 4, coupling: Coupling::Independent };
        assert!(decide(0, CLASSES, none, |places, numbers| Ok(draw(places, numbers))).unwrap().is_empty());
        // Four samples decide nothing at 0.05.
        let decision = decide(1, CLASSES, none, |places, numbers| Ok(draw(places, numbers))).unwrap().remove(0);
        assert_eq!((decision.samples(), decision.decided, decision.class), (4, false, 0));
    }
}
