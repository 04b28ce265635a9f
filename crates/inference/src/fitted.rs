//! What a method fitted: members, how it went, a Laplace posterior where it has one.

use bayeslora_records::FitRecord;

use crate::laplace::Laplace;
use crate::member::Member;

/// What a method fitted.
#[derive(Debug)]
pub struct Fitted {
    /// One, or the members of an ensemble.
    pub members: Vec<Member>,
    /// How it went.
    pub record: FitRecord,
    /// A Gaussian over weights of the first member, read through the linearised network.
    pub laplace: Option<Laplace>,
}

impl Fitted {
    /// Several fits as one ensemble.
    pub fn ensemble(fits: Vec<Self>) -> Self {
        let mut record = FitRecord::default();
        let mut members = Vec::new();
        let mut tokens = 0.0;
        for fit in fits {
            record.trainable_parameters += fit.record.trainable_parameters;
            record.steps += fit.record.steps;
            record.validation_nll.extend(fit.record.validation_nll);
            record.best_epoch.extend(fit.record.best_epoch);
            record.seconds += fit.record.seconds;
            record.post_hoc_seconds += fit.record.post_hoc_seconds;
            tokens += fit.record.tokens_per_second * fit.record.seconds;
            members.extend(fit.members);
        }
        record.tokens_per_second = tokens / record.seconds.max(f64::MIN_POSITIVE);
        Self { members, record, laplace: None }
    }
}
