//! The ways in which it is not, with the messages in full.

use super::*;

#[test]
fn a_checksum_that_is_wrong_twice_names_both() {
    let scene = Scene::new(vec![Step::Archive(b"not it".to_vec())]);
    let message = scene.refusal(toy_wheel());
    let (got, expected) = (hex(&Sha256::digest("not it")), toy_wheel().package().unwrap().sha256);
    let files = "put a.txt, b.txt into\n  DIR/toy and pass --assets DIR (or BAYESLORA_ASSETS=DIR), or\n  ROOT/cache/toy (the \
                 cache; BAYESLORA_CACHE names another)\nor, where there is a network, run\n  python3 -m pip download \
                 --no-deps -d DIR toy-data==1.0\nand pass the folder that then holds toy.whl";
    assert_eq!(
        message,
        format!(
            "toy: no source provided it\n  the script: toy.whl: its sha256 is {got}, expected {expected} (downloaded 2 \
             times)\n{files} (sha256 {expected}) as --assets DIR"
        )
    );
    assert_eq!(scene.asked(), 2);
    assert_eq!(listing(&scene.cache()), [".toy.lock"]);
}

#[test]
fn offline_says_what_is_missing_and_how_to_get_it() {
    let scene = Scene::new(vec![Step::Archive(wheel())]).with_local(&[]).offline();
    fs::create_dir_all(scene.root.path().join("local")).unwrap();
    put(&scene.cache(), &[("toy/b.txt", b"bravo")]);
    let [a, b] = [0, 1].map(|index| toy_wheel().files[index].sha256);
    assert_eq!(
        scene.refusal(toy_wheel()),
        format!(
            "toy: 2 of 2 files are not there, and downloads are switched off (--offline, BAYESLORA_OFFLINE or \
             HF_HUB_OFFLINE)\n  missing a.txt, 5 bytes, sha256 {a}\n  broken b.txt, 13 bytes, sha256 {b}, found {}\nput a.txt, \
             b.txt into\n  ROOT/local/toy (--assets or BAYESLORA_ASSETS), or\n  ROOT/cache/toy (the cache; \
             BAYESLORA_CACHE names another)\nor, where there is a network, run\n  python3 -m pip download --no-deps -d \
             DIR toy-data==1.0\nand pass the folder that then holds toy.whl (sha256 {}) as --assets DIR",
            hex(&Sha256::digest("bravo")),
            toy_wheel().package().unwrap().sha256
        )
    );
    assert_eq!(scene.asked(), 0);
    assert_eq!(listing(&scene.cache().join("toy")), ["b.txt"], "offline, nothing can replace it, so it stays");
}

#[test]
fn a_wrong_file_of_the_users_is_an_error_and_stays() {
    let scene =
        Scene::new(vec![Step::Archive(wheel())]).with_local(&[("toy/a.txt", b"mine"), ("toy/b.txt", FILES[1].1)]);
    assert_eq!(
        scene.refusal(toy_wheel()),
        format!(
            "ROOT/local/toy/a.txt: sha256 is {}, toy needs {}; replace the file, or leave its folder out of --assets and \
             BAYESLORA_ASSETS",
            hex(&Sha256::digest("mine")),
            toy_wheel().files[0].sha256
        )
    );
    assert_eq!(fs::read(scene.root.path().join("local/toy/a.txt")).unwrap(), b"mine");
    assert_eq!(scene.asked(), 0);
}

#[test]
fn a_wrong_archive_of_the_users_is_an_error_and_stays() {
    let scene = Scene::new(vec![Step::Archive(wheel())]).with_local(&[("toy.whl", b"mine")]);
    assert!(scene.refusal(toy_wheel()).starts_with("ROOT/local/toy.whl: sha256 is "));
    assert_eq!(listing(&scene.root.path().join("local")), ["toy.whl"]);
    assert_eq!(scene.asked(), 0);
}

#[test]
fn a_folder_that_does_not_exist_is_an_error() {
    let mut scene = Scene::new(vec![Step::Unavailable]);
    scene.options.local = Some(scene.root.path().join("nowhere"));
    assert_eq!(scene.refusal(toy_wheel()), "ROOT/nowhere: no such folder (given by --assets or BAYESLORA_ASSETS)");
}

#[test]
fn a_dead_network_names_the_source_and_the_reason() {
    let scene = Scene::new(vec![Step::Unavailable]);
    let (result, events) = scene.open(toy_wheel());
    assert!(
        result
            .unwrap_err()
            .to_string()
            .starts_with("toy: no source provided it\n  the script: the line is dead\nput a.txt, b.txt into\n")
    );
    assert_eq!(events[1], "toy: not from the script: the line is dead");
    assert_eq!(scene.asked(), 1, "asking a dead line again would not help");
    assert_eq!(listing(&scene.cache()), [".toy.lock"]);
}

#[test]
fn files_that_are_not_the_declared_ones_are_never_installed() {
    let scene = Scene::new(vec![Step::Files(vec![FILES[0], ("b.txt", b"bravo, changed")])]);
    assert!(scene.refusal(toy_wheel()).contains("b.txt: its sha256 is "));
    assert_eq!(listing(&scene.cache()), [".toy.lock"]);
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let mut scene = Scene::new(vec![Step::Archive(wheel())]);
    fs::write(scene.root.path().join("file"), "").unwrap();
    scene.options.cache = Some(scene.root.path().join("file/cache"));
    let message = scene.refusal(toy_wheel());
    assert!(message.starts_with("ROOT/file/cache: cannot write to the asset cache: "), "{message}");
    assert!(message.ends_with("; BAYESLORA_CACHE names another folder"), "{message}");
    assert_eq!(scene.asked(), 0);
}

/// A toy that lies in a repository only.
fn toy_by_hand() -> &'static Asset {
    let repository = Repository {
        address: "https://example.org/somebody/toy",
        folder: "data",
        renamed: &[("c.txt", "b.txt")],
        remark: "read the notes",
    };
    let Asset { name, files, .. } = toy_wheel();
    Box::leak(Box::new(Asset { name, files, hub: None, origin: Origin::Repository(repository) }))
}

#[test]
fn what_nothing_downloads_says_where_to_get_it_and_where_to_put_it() {
    let scene = Scene::new(vec![Step::Unavailable]).without_network().with_data(&[("toy/a.txt", FILES[0].1)]);
    let [a, b] = [0, 1].map(|index| toy_by_hand().files[index].sha256);
    assert_eq!(
        scene.refusal(toy_by_hand()),
        format!(
            "toy: 2 of 2 files are not there, and this program does not download them\n  missing a.txt, 5 bytes, sha256 \
             {a}\n  missing b.txt, 13 bytes, sha256 {b}\nget them from the folder data of \
             https://example.org/somebody/toy (read the notes), where b.txt is called c.txt, and put a.txt, b.txt into\n  ROOT/data/toy (--data or BAYESLORA_DATA), \
             or\n  ROOT/cache/toy (the cache; BAYESLORA_CACHE names another)"
        )
    );
    assert_eq!(scene.open(toy_by_hand()).1, ["toy: not from ROOT/data/toy: 1 of 2 files are missing there"]);
    let arc = Scene::new(vec![Step::Unavailable]).without_network().refusal(crate::assets::AssetId::Arc.asset());
    let expected = "GenMC (without the field `para` that its choices have there), where challenge_train.jsonl is called \
                    arc_challenge/official/train.jsonl, challenge_dev.jsonl is called arc_challenge/official/dev.jsonl, ";
    assert!(arc.contains(expected) && !arc.contains(",,"), "{arc}");
    let nowhere = Scene::new(vec![Step::Unavailable]).without_network().refusal(toy_by_hand());
    assert!(nowhere.contains("\n  DIR/toy and pass --data DIR (or BAYESLORA_DATA=DIR), or\n"), "{nowhere}");
}

#[test]
fn a_folder_of_data_sets_is_read_checked_and_left_alone() {
    let good = [("toy/a.txt", FILES[0].1), ("toy/b.txt", FILES[1].1)];
    let scene = Scene::new(vec![Step::Unavailable]).without_network().with_data(&good).offline();
    assert_eq!(scene.open(toy_by_hand()).0.unwrap().path(), scene.root.path().join("data/toy"));
    assert!(!scene.cache().exists(), "nothing is copied");
    let scene = Scene::new(vec![Step::Unavailable]).without_network().with_data(&[("toy/a.txt", b"mine"), good[1]]);
    let message = scene.refusal(toy_by_hand());
    assert!(
        message.starts_with("ROOT/data/toy/a.txt: sha256 is ")
            && message.ends_with("replace the file, or leave its folder out of --data and BAYESLORA_DATA"),
        "{message}"
    );
    let mut scene = Scene::new(vec![Step::Unavailable]);
    scene.options.data = Some(scene.root.path().join("nowhere"));
    assert_eq!(scene.refusal(toy_by_hand()), "ROOT/nowhere: no such folder (given by --data or BAYESLORA_DATA)");
}
