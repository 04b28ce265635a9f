//! What is taken out of an archive, and which archives are refused.

use super::*;

const NESTED: Layout = Layout::NestedSdist { inner: "toy-1.0/more/toy.tar.gz", folder: "toy" };

/// The message with which an archive of the right checksum is refused.
fn refusal(archive: Vec<u8>, layout: Layout) -> String {
    let asset = toy(&archive, layout);
    let scene = Scene::new(vec![Step::Archive(archive)]);
    let message = scene.refusal(asset);
    assert_eq!(listing(&scene.cache()), [".toy.lock"], "nothing half-installed");
    assert_eq!(listing(scene.root.path()), ["cache"], "nothing outside the cache");
    assert_eq!(scene.asked(), 1, "the bytes were the declared ones: asking again would not help");
    message.lines().nth(1).unwrap().to_owned()
}

#[test]
fn an_archive_inside_a_source_distribution_is_unpacked() {
    let inner = tar_gz(&[("toy/sub/a.txt", b"another"), ("toy/a.txt", FILES[0].1), ("toy/b.txt", FILES[1].1)]);
    let outer = tar_gz(&[("toy-1.0/toy/a.txt", b"outside"), ("toy-1.0/more/toy.tar.gz", &inner), ("toy-1.0/z", b"")]);
    let asset = toy(&outer, NESTED);
    let scene = Scene::new(vec![Step::Archive(outer)]);
    let folder = scene.open(asset).0.unwrap();
    assert_eq!(fs::read(folder.file("a.txt")).unwrap(), b"alpha");
    assert_eq!(listing(folder.path()), ["a.txt", "b.txt"]);
}

#[test]
fn a_missing_member_is_named() {
    let wheel = zipped(&[("toy/data/a.txt", FILES[0].1), ("elsewhere/b.txt", FILES[1].1)]);
    assert_eq!(refusal(wheel, Layout::Wheel { folder: "toy/data" }), "  the script: toy.whl: no b.txt inside");
    assert_eq!(refusal(tar_gz(&[("toy-1.0/x", b"")]), NESTED), "  the script: toy.whl: no a.txt inside");
}

#[test]
fn an_entry_that_points_outside_refuses_the_archive() {
    for path in ["../evil", "toy/data/../../../evil", "/evil", "C:\\evil", "..\\evil"] {
        let wheel = zipped(&[("toy/data/a.txt", FILES[0].1), ("toy/data/b.txt", FILES[1].1), (path, b"evil")]);
        let expected = format!("  the script: toy.whl: refused, its entry {path:?} points outside it");
        assert_eq!(refusal(wheel, Layout::Wheel { folder: "toy/data" }), expected);
        let inner = tar_gz(&[("toy/a.txt", FILES[0].1), ("toy/b.txt", FILES[1].1), (path, b"evil")]);
        assert_eq!(refusal(tar_gz(&[("toy-1.0/more/toy.tar.gz", &inner)]), NESTED), expected);
        let outer = tar_gz(&[("toy-1.0/more/toy.tar.gz", &tar_gz(&[])), (path, b"evil")]);
        assert_eq!(refusal(outer, NESTED), expected);
    }
}

#[test]
fn a_link_in_place_of_a_file_is_not_followed() {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "toy/a.txt", "/etc/hostname").unwrap();
    let inner = builder.into_inner().unwrap().finish().unwrap();
    let outer = tar_gz(&[("toy-1.0/more/toy.tar.gz", &inner)]);
    assert_eq!(refusal(outer, NESTED), "  the script: toy.whl: no a.txt inside");
}

#[test]
fn a_damaged_archive_is_reported() {
    let message = refusal(b"PK but not a zip".to_vec(), Layout::Wheel { folder: "toy/data" });
    assert!(message.starts_with("  the script: toy.whl: cannot unpack: "), "{message}");
    let mut cut = tar_gz(&[("toy-1.0/more/toy.tar.gz", &tar_gz(&[("toy/a.txt", FILES[0].1)]))]);
    cut.truncate(cut.len() / 2);
    let message = refusal(cut, NESTED);
    assert!(message.starts_with("  the script: toy.whl: cannot unpack: "), "{message}");
}

#[test]
fn a_member_longer_than_declared_stops_one_byte_past_its_length() {
    let endless = vec![0; 1 << 20];
    let wheel = zipped(&[("toy/data/a.txt", &endless), ("toy/data/b.txt", FILES[1].1)]);
    let asset = toy(&wheel, Layout::Wheel { folder: "toy/data" });
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &[("toy.whl", &wheel)]);
    crate::assets::archive::extract(&folder.path().join("toy.whl"), asset, folder.path()).unwrap();
    assert_eq!(fs::read(folder.path().join("a.txt")).unwrap().len(), FILES[0].1.len() + 1);
}
