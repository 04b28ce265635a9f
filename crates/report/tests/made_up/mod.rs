//! What made-up records share.

use bayeslora_records::Provenance;

/// A provenance that names nobody.
pub(crate) fn provenance() -> Provenance {
    Provenance {
        version: "0.1.0".to_owned(),
        commit: "abc".to_owned(),
        date: "2026-01-01".to_owned(),
        cpu: "a processor".to_owned(),
        threads: 2,
        jobs: 1,
        device: "cpu".to_owned(),
        accelerator: None,
        precision: "f32".to_owned(),
        model_digest: "m".to_owned(),
        data_digest: "d".to_owned(),
    }
}
