use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::mutation::Mutations;

/// A field of bytes.
fn put(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    fields::put_varint(fields::bytes_key(number), &mut field);
    fields::put_varint(bytes.len() as u64, &mut field);
    field.extend_from_slice(bytes);
    field
}

fn entry(key: &str, value: &str) -> Vec<u8> {
    put(
        13,
        &[put(1, key.as_bytes()), put(2, value.as_bytes())].concat(),
    )
}

/// A tensor `w` with external data.
fn outside(entries: &[(&str, &str)]) -> Vec<u8> {
    let entries = entries.iter().flat_map(|(key, value)| entry(key, value));
    let mut tensor = put(8, b"w");
    tensor.extend(entries);
    // data_location = EXTERNAL.
    tensor.extend([14 << 3, 1]);
    tensor
}

/// The same tensor with embedded data.
fn inside(data: &[u8]) -> Vec<u8> {
    [put(8, b"w"), put(9, data)].concat()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

const ALL: &[(&str, &str)] = &[("location", "w.bin")];

/// All positions of a tensor in a model, as field numbers from the inside out.
const PLACES: &[&[u64]] = &[
    &[5, 7],
    &[1, 15, 7],
    &[2, 15, 7],
    &[5, 5, 1, 7],
    &[10, 5, 1, 7],
    &[1, 22, 5, 1, 7],
    &[2, 23, 5, 1, 7],
    &[5, 6, 5, 1, 7],
    &[5, 11, 5, 1, 7],
    &[5, 5, 1, 11, 5, 1, 6, 5, 1, 7],
    &[5, 5, 7, 25],
    &[5, 11, 25],
    &[5, 1, 20],
];

fn at(place: &[u64], tensor: Vec<u8>) -> Vec<u8> {
    let inner = place.iter().fold(tensor, |inner, &field| {
        // Surrounded by unknown fields.
        [
            put(99, b"kept"),
            put(field, &inner),
            vec![13 << 3 | 5, 1, 2, 3, 4],
        ]
        .concat()
    });
    [inner, vec![1 << 3, 10]].concat()
}

#[test]
fn external_data_is_embedded_at_any_depth_and_the_rest_is_copied() {
    let folder = Folder::new();
    folder.file("w.bin", b"0123456789");
    let path = folder.file("net.onnx", b"");
    let slice = [
        ("location", "./w.bin"),
        ("offset", "2"),
        ("length", "3"),
        ("checksum", "x"),
    ];
    for place in PLACES {
        for (entries, data) in [(ALL, &b"0123456789"[..]), (&slice, b"234")] {
            let model = at(place, outside(entries));
            let whole = self_contained(&path, model, 1000).unwrap();
            assert_eq!(whole, at(place, inside(data)), "{place:?}");
            let again = self_contained(&path, whole.clone(), 1).unwrap();
            assert_eq!(again, whole, "a self-contained model is unchanged");
        }
    }
}

#[test]
fn bytes_that_are_no_model_are_unchanged() {
    let path = Folder::new().file("net.onnx", b"");
    let whole = at(PLACES[0], outside(ALL));
    let deep = (0..200).fold(outside(ALL), |inner, _| put(1, &put(5, &put(6, &inner))));
    let mut torn: Vec<Vec<u8>> = vec![b"\xff\xff no protobuf".to_vec(), put(7, &deep), Vec::new()];
    // Cut anywhere before the end of the graph, which seven bytes follow.
    torn.extend((1..whole.len() - 7).map(|end| whole[..end].to_vec()));
    for bytes in torn {
        assert_eq!(self_contained(&path, bytes.clone(), 1000).unwrap(), bytes);
    }
}

#[test]
fn a_link_into_a_store_leads_to_the_data_and_other_paths_outside_are_refused() {
    let folder = Folder::new();
    let root = folder.0.path();
    let model = |entries: &[(&str, &str)]| at(PLACES[0], outside(entries));
    // As in a hub's cache: a snapshot of links into a store of files named by their digests.
    folder.file("hub/blobs/aa", &model(&[("location", "net.onnx.data")]));
    folder.file("hub/blobs/bb", b"0123");
    fs::create_dir_all(root.join("hub/snapshots/rev/onnx")).unwrap();
    let snapshot = |name: &str, target: &str| {
        symlink(target, root.join("hub/snapshots/rev").join(name)).unwrap()
    };
    snapshot("net.onnx", "../../blobs/aa");
    snapshot("net.onnx.data", "../../blobs/bb");
    snapshot("onnx/net.onnx", "../../../blobs/aa");
    snapshot("onnx/net.onnx.data", "../../../blobs/bb");
    let expected = at(PLACES[0], inside(b"0123"));
    for path in [
        "hub/snapshots/rev/net.onnx",
        "hub/snapshots/rev/onnx/net.onnx",
    ] {
        let model = Model::read("net", &root.join(path)).unwrap();
        assert_eq!(model.onnx()[..], expected[..], "{path}");
    }
    // A link to a model in another folder: its data lies beside the real file.
    folder.file("real/net.onnx", &model(&[("location", "sub/w.bin")]));
    folder.file("real/sub/w.bin", b"0123");
    symlink(root.join("real/net.onnx"), root.join("short.onnx")).unwrap();
    assert_eq!(
        Model::read("net", &root.join("short.onnx")).unwrap().onnx()[..],
        expected[..]
    );

    folder.file("secret", b"0123");
    let secret = root.join("secret").display().to_string();
    fs::create_dir(root.join("models")).unwrap();
    symlink("../secret", root.join("models/link")).unwrap();
    symlink("..", root.join("models/up")).unwrap();
    symlink("loop", root.join("models/loop")).unwrap();
    let check = |location: &str, more: &[(&str, &str)], needle: &str| {
        let entries = [&[("location", location)], more].concat();
        let path = folder.file("models/net.onnx", &model(&entries));
        let error = Model::read("net", &path).unwrap_err().to_string();
        for needle in [needle, "models/net.onnx", "tensor `w`"] {
            assert!(
                error.contains(needle),
                "{location}: no '{needle}' in {error}"
            );
        }
    };
    for location in ["../secret", "/etc/passwd", "a/../../secret", "", &secret] {
        check(location, &[], "outside the model's folder");
    }
    check("link", &[], "leads outside");
    check("up/secret", &[], "leads outside");
    check("loop", &[], "`loop`");
    check(".", &[], "is not a file");
    check("nowhere.bin", &[], "`nowhere.bin` is not in");
    check("no\u{1}name", &[], "is not in");
    folder.file("models/w.bin", b"0123");
    check(
        "w.bin",
        &[("length", "5")],
        "`w.bin` has 4 bytes, but 5 from 0",
    );
    check("w.bin", &[("offset", "5")], "has 4 bytes");
    check(
        "w.bin",
        &[("offset", "3"), ("length", "18446744073709551615")],
        "has 4 bytes",
    );
    check("w.bin", &[("offset", "-1")], "not a number of bytes");
}

#[test]
fn a_model_too_large_for_protobuf_is_refused_before_it_is_read() {
    let folder = Folder::new();
    let path = folder.file("net.onnx", &at(PLACES[0], outside(ALL)));
    // A sparse file takes no space on the disk.
    let data = fs::File::create(path.with_file_name("w.bin")).unwrap();
    data.set_len(3 << 30).unwrap();
    let model = fs::File::create(path.with_file_name("large.onnx")).unwrap();
    model.set_len(3 << 30).unwrap();
    for name in ["net.onnx", "large.onnx"] {
        let error = Model::read("net", &path.with_file_name(name))
            .unwrap_err()
            .to_string();
        assert!(error.contains(name) && error.contains("2 GiB"), "{error}");
    }
}

#[test]
fn no_mutation_of_a_file_leads_outside_its_folder_beyond_the_limit_or_to_a_panic() {
    const LIMIT: u64 = 4096;
    const SECRET: &[u8] = b"the secret beside the folder";
    let folder = Folder::new();
    folder.file("secret", SECRET);
    folder.file("models/w.bin", &[7; 1000]);
    let path = folder.file("models/net.onnx", b"");
    let slice = [("location", "w.bin"), ("offset", "8"), ("length", "16")];
    let valid: Vec<Vec<u8>> = PLACES
        .iter()
        .flat_map(|place| [at(place, outside(ALL)), at(place, outside(&slice))])
        .collect();
    let mut mutations = Mutations::new(
        11,
        &[
            b"../secret",
            b"/etc/passwd",
            b".",
            b"-1",
            b"18446744073709551615",
            b"999999999999999999999",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x00",
            b"location",
            b"length",
        ],
    );
    let mut embedded = 0;
    for round in 0..20_000 {
        let bytes = mutations.of(&valid[round % valid.len()]);
        if let Ok(whole) = self_contained(&path, bytes.clone(), LIMIT) {
            assert!(whole.len() <= bytes.len() || whole.len() as u64 <= LIMIT);
            assert!(!whole.windows(SECRET.len()).any(|part| part == SECRET));
            embedded += usize::from(whole != bytes);
            let _ = Model::new("mutated", whole).input_names();
        }
    }
    // Most break the lengths of nested messages; enough must remain to test the rest.
    assert!(embedded > 300, "{embedded} of the mutations embed data");
}
