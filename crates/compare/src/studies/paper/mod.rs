//! The experiment of BayesLoRA v1 (arXiv 2506.22809v1), beside what its authors report: accuracy, rank correlation of variance and
//! error, error by variance decile, a picture of the representations, and five sentences.

mod figures;
mod findings;
mod measure;
mod table;

pub use measure::measure_paper;
