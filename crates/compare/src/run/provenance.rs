//! Where, when and with what a record was computed; no host, user or path.

use bayeslora_host::cpu_model;
use bayeslora_inference::Place;
use bayeslora_records::Provenance;

/// The commit this library was built from, `+dirty` when its sources had changed.
pub const COMMIT: &str = env!("BAYESLORA_COMMIT");

/// The provenance of a record written now, computed at `place`.
pub(crate) fn current(place: &Place, model_digest: &str, data_digest: &str) -> Provenance {
    Provenance {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: COMMIT.to_owned(),
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        cpu: cpu_model(),
        threads: u32::try_from(rayon::current_num_threads()).unwrap_or(u32::MAX),
        jobs: 1,
        device: place.device_name(),
        accelerator: place.accelerator(),
        precision: place.precision.to_string(),
        model_digest: model_digest.to_owned(),
        data_digest: data_digest.to_owned(),
    }
}
