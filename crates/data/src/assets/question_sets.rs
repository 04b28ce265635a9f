//! Data sets of questions with options.

use super::asset::{Asset, Origin, Repository, file};

pub(super) static ARC: Asset = Asset {
    name: "arc_original",
    files: &[
        file("challenge_dev.jsonl", 133_409, "de31acbc1abbd14339c4f602e6fb1f29ccc020f272605ad1f97f80c75200ee16"),
        file("easy_dev.jsonl", 227_537, "b8854a3046ca41d9aca1f4abbaec1be8c08952906ef69a1d19f49ded70c3bbeb"),
        file("challenge_train.jsonl", 487_417, "cdf00a50f0f06c8724a91130db5429efaf75a0523eff3452681d5e90116a59e7"),
        file("challenge_test.jsonl", 518_693, "f1bb96500d515d90ad1f7986dec804ee9ae8fe4cf35449db04c78f70362c952a"),
        file("easy_train.jsonl", 895_878, "0b9351801c45591330c5024edd48fd47c3638fa8f87dba10b5f93ea8904c1de0"),
        file("easy_test.jsonl", 949_740, "1d47e415603543fa371f8990b14926a7e18b7874f455f6ea1a97a7ac749ff409"),
    ],
    hub: None,
    origin: Origin::Repository(Repository {
        address: "https://github.com/nju-websoft/GenMC",
        folder: "data",
        renamed: &[
            ("arc_challenge/official/train.jsonl", "challenge_train.jsonl"),
            ("arc_challenge/official/dev.jsonl", "challenge_dev.jsonl"),
            ("arc_challenge/official/test.jsonl", "challenge_test.jsonl"),
            ("arc_easy/official/train.jsonl", "easy_train.jsonl"),
            ("arc_easy/official/dev.jsonl", "easy_dev.jsonl"),
            ("arc_easy/official/test.jsonl", "easy_test.jsonl"),
        ],
        remark: "without the field `para` that its choices have there",
    }),
};

pub(super) static OPENBOOKQA: Asset = Asset {
    name: "openbookqa_original",
    files: &[
        file("test.tsv", 146_856, "30b94f7cc2fa216455cc6e04bc4d5ef7d634eeb4f5c7b5f6b018914e78e0b0ff"),
        file("dev.tsv", 154_177, "f991ab306e5861085b1d82ede903ada8a3a2eb56261b676be809899fe3949b57"),
        file("train.tsv", 1_420_569, "a99b5eeb0df072e358d421878588f44f25faf4151d843be7ef4f4a9c0f9a920d"),
    ],
    hub: None,
    origin: Origin::Repository(Repository {
        address: "https://github.com/genggui001/opencompass",
        folder: "data/openbookqa/Main",
        renamed: &[],
        remark: "",
    }),
};

pub(super) static WINOGRANDE: Asset = Asset {
    name: "winogrande_original",
    files: &[
        file("train_s.jsonl", 138_624, "959778b5a77819891ba9cbfc591925e94c853c6de3019992e292765176c69daf"),
        file("dev.jsonl", 275_682, "1aeac79cf46a3dcbe59a71ca7e5372a1490cde2b4ae2387dc56f00378104d2e8"),
        file("train_m.jsonl", 554_107, "b02e7d92b5e44147ee4d1879fbf0e484510053f06c50a6fa6400265058f3ed42"),
    ],
    hub: None,
    origin: Origin::Repository(Repository {
        address: "https://github.com/Anthony-Alridge/wsc",
        folder: "data",
        renamed: &[],
        remark: "at commit 46939ff, since later ones lack them",
    }),
};

pub(super) static BOOLQ: Asset = Asset {
    name: "boolq",
    files: &[file("train.json", 2_599_507, "5ccbaceebaddc69765e1c4a363632196b81851d303696672165ab59ec4e48c83")],
    hub: None,
    origin: Origin::Repository(Repository {
        address: "https://github.com/AGI-Edgerunners/LLM-Adapters",
        folder: "dataset/boolq",
        renamed: &[],
        remark: "",
    }),
};

pub(super) static BOOLQ_PASSAGES: Asset = Asset {
    name: "boolq_passages",
    files: &[file("val.jsonl", 2_261_105, "21acbfbd1e7908fddd9e626bc2a6101c5a5430bda3fbf74985b979af7a63b989")],
    hub: None,
    origin: Origin::Repository(Repository {
        address: "https://github.com/imagination-research/EEP",
        folder: "data/BoolQ",
        renamed: &[],
        remark: "",
    }),
};

pub(super) static MMLU: Asset = Asset {
    name: "mmlu",
    files: &[
        file("college_chemistry_test.csv", 22_362, "6335fe0f7da7a3ec76a9067869445253111080261df1c560a2527df01f34ae67"),
        file("college_physics_test.csv", 27_859, "3f67202a7a62da0f0ab3028e0a0cf26a3cffc041283044f51f3e058258eab281"),
        file("conceptual_physics_test.csv", 35_040, "7186a0cdcd18dff2183dbd26d44f2d59d01f42687092e1229088735d508c06e1"),
        file(
            "high_school_chemistry_test.csv",
            53_765,
            "42dcc80210a4cd861529e2cbaa04584d1d1cfd32d5515b385343df724d37408f",
        ),
        file(
            "high_school_physics_test.csv",
            56_151,
            "e5258c55a5e67a62c26fa0d2564b5263b69d38810e51204c59017789a771e253",
        ),
    ],
    hub: None,
    origin: Origin::Repository(Repository {
        address: "https://github.com/HaeChan0305/MLILAB-FedLLM",
        folder: "data/mmlu/test",
        renamed: &[],
        remark: "",
    }),
};
