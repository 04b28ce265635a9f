//! Predictive samples in, scores and paired statistics out.
//!
//! Stored logits `[samples, examples, classes]` become a [`Predictive`]; everything else is a pure function of its
//! probabilities, its uncertainties and the labels. All arithmetic is f64, entropies and log likelihoods are in nats, and
//! no input makes a function panic: what cannot be scored is an [`enum@Error`] that says where and why.
//!
//! | question | functions |
//! |---|---|
//! | how uncertain, and why? | [`softmax`], [`Predictive`] |
//! | how uncertain, without samples? | [`GaussianLogits`] |
//! | how right? | [`accuracy`], [`negative_log_likelihood`], [`soft_negative_log_likelihood`], [`brier`] |
//! | is 80 % sure right in 80 %? | [`reliability`], [`expected_calibration_error`], [`adaptive_calibration_error`], [`classwise_calibration_error`] |
//! | does uncertainty point at errors? | [`RiskCoverage`], [`error_by_quantile`], [`spearman`] |
//! | does it know of errors what the entropy does not? | [`association`], [`partial_spearman`] |
//! | does it point at foreign examples? | [`auroc`], [`aupr`], [`fpr_at_tpr`] |
//! | how far from what was trained on? | [`Mahalanobis`], [`NearestNeighbours`] |
//! | would one number calibrate it? | [`Temperature`] |
//! | are there samples enough? | [`Decider`] |
//! | could it be chance? | [`Bootstrap`], [`PreparedAurc`], [`PreparedEce`], [`summarise`], [`median`] |
//! | with other seeds too? | [`Fits`], [`Family`], [`Effect`], [`Prior`], [`persistent_variance`] |
//! | with other seeds too, as the first tables had it? | [`Measured`], [`over_examples_and_seeds`] |
//! | is it no larger than that? | [`Effect::equivalence`] |
//! | in how many comparisons? | [`holm`], [`Tally`], [`friedman`], [`nemenyi_critical_difference`] |
//! | what would have been seen? | [`smallest_noncentrality`] |
//! | what can be promised of it? | [`guarantee`] |
//!
//! Definitions that differ between published codes, and which one is taken, are in the documentation of each function.
//! Ties never make a result depend on the order of examples.
//!
//! ```
//! use bayeslora_metrics::{Averaging, Predictive, accuracy, expected_calibration_error, negative_log_likelihood};
//! // Two samples, two examples, two classes.
//! let logits = ndarray::arr3(&[[[2.0_f32, 0.0], [0.0, 3.0]], [[2.0, 0.0], [1.0, 0.0]]]);
//! let labels = [0, 1];
//! let predictive = Predictive::from_logits(logits.view(), Averaging::Probabilities)?;
//! assert_eq!(accuracy(&predictive.predicted(), &labels)?, 1.0);
//! let nll = negative_log_likelihood(predictive.log_probabilities(), &labels)?;
//! assert!((nll - 0.309_991_425_599).abs() < 1e-11);
//! let ece = expected_calibration_error(predictive.probabilities(), &labels, 15)?;
//! assert!((ece - 0.254_222_573_963).abs() < 1e-11);
//! # Ok::<(), bayeslora_metrics::Error>(())
//! ```

#![allow(clippy::needless_pass_by_value, reason = "an ndarray view is a reference already")]

mod accuracy;
mod association;
mod averaging;
mod binning;
mod bootstrap;
mod calibration;
mod detection;
mod deviations;
mod distance;
mod effect;
mod error;
mod family;
mod fits;
mod friedman;
mod gaussian;
pub mod guarantee;
mod inputs;
mod integral;
mod measured;
mod median;
mod moderation;
mod multiplicity;
mod paired;
mod parts;
mod persistent;
mod placements;
mod power;
mod predictive;
mod prepared;
mod proper;
mod quantiles;
mod random;
mod rank;
mod registry;
mod selective;
mod sequential;
mod softmax;
mod student;
mod summary;
mod temperature;
mod top;
mod trigamma;

pub use accuracy::accuracy;
pub use association::{Association, FitScores, TEXTS_A_STRATUM, association};
pub use averaging::Averaging;
pub use bootstrap::{Bootstrap, Interval, weights};
pub use calibration::{
    ReliabilityBin, adaptive_calibration_error, classwise_calibration_error, expected_calibration_error, reliability,
    reliability_of_top,
};
pub use detection::{aupr, auroc, fpr_at_tpr};
pub use deviations::Detection;
pub use distance::{Mahalanobis, NearestNeighbours};
pub use effect::{Effect, Equivalence};
pub use error::{Error, Result};
pub use family::{Family, FamilyRow, Origin, Seeds};
pub use fits::Fits;
pub use friedman::{Friedman, friedman, nemenyi_critical_difference};
pub use gaussian::GaussianLogits;
pub use measured::{Measured, PairedDifference, over_examples_and_seeds};
pub use median::median;
pub use moderation::{Moderated, Prior};
pub use multiplicity::{Tally, holm};
pub use paired::paired_t;
pub use persistent::persistent_variance;
pub use power::smallest_noncentrality;
pub use predictive::Predictive;
pub use prepared::{PreparedAurc, PreparedEce};
pub use proper::{brier, negative_log_likelihood, soft_negative_log_likelihood};
pub use quantiles::{QuantileBin, error_by_quantile};
pub use rank::{Correlation, partial_spearman, spearman};
pub use registry::{Better, ECE_BINS, METRICS, MetricInfo, Needs, metric};
pub use selective::RiskCoverage;
pub use sequential::Decider;
pub use softmax::softmax;
pub use summary::{Summary, summarise};
pub use temperature::{Scaled, Temperature};
