//! The ways in which an asset is found.

use std::thread;

use super::*;

fn installed(scene: &Scene) {
    for (name, bytes) in FILES {
        assert_eq!(fs::read(scene.cache().join("toy").join(name)).unwrap(), bytes);
    }
    assert_eq!(listing(&scene.cache().join("toy")), ["a.txt", "b.txt"]);
    assert_eq!(listing(&scene.cache()), [".toy.lock", "toy"]);
}

#[test]
fn a_fresh_install_takes_the_declared_files_only() {
    let scene = Scene::new(vec![Step::Archive(wheel())]);
    let (folder, events) = scene.open(toy_wheel());
    let folder = folder.unwrap();
    assert_eq!(folder.path(), scene.cache().join("toy"));
    assert_eq!(folder.file("a.txt"), scene.cache().join("toy/a.txt"));
    assert_eq!(folder.digest(), toy_wheel().digest());
    assert_eq!(
        events,
        [
            "toy: trying the script",
            "toy: installed from the script into ROOT/cache/toy",
            "toy: checksums verified in ROOT/cache/toy"
        ]
    );
    installed(&scene);
}

#[test]
fn what_is_in_the_cache_is_not_fetched_again() {
    let scene = Scene::new(vec![Step::Archive(wheel())]);
    scene.open(toy_wheel()).0.unwrap();
    let (folder, events) = scene.open(toy_wheel());
    folder.unwrap();
    assert_eq!(events, ["toy: checksums verified in ROOT/cache/toy"]);
    assert_eq!(scene.asked(), 1);
}

#[test]
fn a_process_verifies_an_asset_once() {
    let scene = Scene::new(vec![Step::Archive(wheel())]);
    let sources: Vec<Box<dyn Source>> = vec![Box::new(scene.script)];
    let assets = Assets::with_sources(&scene.options, sources).unwrap();
    let asset = toy_wheel();
    let first = assets.open_asset(asset, &mut |_| {}).unwrap();
    assert_eq!(assets.open_asset(asset, &mut |event| panic!("{event}")).unwrap(), first);
}

#[test]
fn a_truncated_file_in_the_cache_is_removed_and_fetched_again() {
    let scene = Scene::new(vec![Step::Archive(wheel())]);
    scene.open(toy_wheel()).0.unwrap();
    fs::write(scene.cache().join("toy/b.txt"), "bravo").unwrap();
    let (folder, events) = scene.open(toy_wheel());
    folder.unwrap();
    assert_eq!(
        events[0],
        format!(
            "ROOT/cache/toy/b.txt: removed: its sha256 is {}, expected {}",
            hex(&Sha256::digest("bravo")),
            toy_wheel().files[1].sha256
        )
    );
    assert_eq!(events[1..3], ["toy: trying the script", "toy: installed from the script into ROOT/cache/toy"]);
    installed(&scene);
}

#[test]
fn a_download_with_a_wrong_checksum_is_tried_once_more() {
    let scene = Scene::new(vec![Step::Archive(b"cut off".to_vec()), Step::Archive(wheel())]);
    let (folder, events) = scene.open(toy_wheel());
    folder.unwrap();
    assert!(events[1].contains("toy.whl: removed: its sha256 is "), "{}", events[1]);
    assert_eq!(scene.asked(), 2);
    installed(&scene);
}

#[test]
fn a_source_may_give_plain_files() {
    let scene = Scene::new(vec![Step::Files(FILES.to_vec())]);
    scene.open(toy_wheel()).0.unwrap();
    installed(&scene);
}

#[test]
fn the_users_folder_is_preferred_and_left_alone() {
    let scene = Scene::new(vec![Step::Unavailable]).with_local(&[("toy/a.txt", FILES[0].1), ("toy/b.txt", FILES[1].1)]);
    let (folder, events) = scene.open(toy_wheel());
    assert_eq!(folder.unwrap().path(), scene.root.path().join("local/toy"));
    assert_eq!(events, ["toy: checksums verified in ROOT/local/toy"]);
    assert!(!scene.cache().exists());
}

#[test]
fn an_incomplete_folder_of_the_users_is_passed_over() {
    let scene = Scene::new(vec![Step::Archive(wheel())]).with_local(&[("toy/a.txt", FILES[0].1)]);
    let (folder, events) = scene.open(toy_wheel());
    assert_eq!(folder.unwrap().path(), scene.cache().join("toy"));
    assert_eq!(events[0], "toy: not from ROOT/local/toy: 1 of 2 files are missing there");
    assert_eq!(listing(&scene.root.path().join("local/toy")), ["a.txt"]);
}

#[test]
fn an_archive_in_the_users_folder_is_unpacked_into_the_cache_also_offline() {
    let scene = Scene::new(vec![Step::Unavailable]).with_local(&[("toy.whl", &wheel())]).offline();
    let (folder, events) = scene.open(toy_wheel());
    folder.unwrap();
    assert_eq!(events[1], "toy: trying ROOT/local/toy.whl");
    assert_eq!(listing(&scene.root.path().join("local")), ["toy.whl"]);
    installed(&scene);
}

#[test]
fn what_a_killed_installation_left_is_swept() {
    let scene = Scene::new(vec![Step::Archive(wheel())]);
    put(&scene.cache(), &[(".partial-toy-x1/a.txt", b"al")]);
    scene.open(toy_wheel()).0.unwrap();
    installed(&scene);
}

#[test]
fn processes_that_install_at_once_fetch_once() {
    let scene = Scene::new(vec![Step::Archive(wheel())]);
    let asset = toy_wheel();
    thread::scope(|scope| {
        let openers: Vec<_> =
            (0..8).map(|_| scope.spawn(|| scene.open(asset).0.map(|folder| folder.path().to_owned()))).collect();
        for opener in openers {
            assert_eq!(opener.join().unwrap().unwrap(), scene.cache().join("toy"));
        }
    });
    assert_eq!(scene.asked(), 1);
    installed(&scene);
}
