//! Samples for networks of any inputs: what is read, and the sentence for each file that does not
//! fit.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;

use datasets::{
    DataSpec, Preprocessing, Preset, Splits, Targets, TensorSpec, Wanted, open_samples,
};
use zip::ZipWriter;
use zip::write::FileOptions;

/// An array file of NumPy.
fn npy(descr: &str, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    let dims: String = shape.iter().map(|dim| format!("{dim}, ")).collect();
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}\n");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(bytes);
    out
}

fn floats(shape: &[usize], first: f32) -> Vec<u8> {
    let count: usize = shape.iter().product();
    let bytes = (0..count).flat_map(|i| (first + i as f32).to_le_bytes());
    npy("<f4", shape, &bytes.collect::<Vec<u8>>())
}

fn integers(shape: &[usize], value: i64) -> Vec<u8> {
    let count: usize = shape.iter().product();
    let bytes: Vec<u8> = (0..count).flat_map(|_| value.to_le_bytes()).collect();
    npy("<i8", shape, &bytes)
}

fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        let name = format!("{name}.npy");
        zip.start_file(name, FileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn wav(rate: u32, samples: &[i16]) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::new(&mut out, spec).unwrap();
    for &sample in samples {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
    out.into_inner()
}

fn png(side: u32, grey: u8) -> Vec<u8> {
    grey_png((side, side), grey)
}

fn grey_png((width, height): (u32, u32), grey: u8) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let image = image::GrayImage::from_pixel(width, height, image::Luma([grey]));
    image.write_to(&mut out, image::ImageFormat::Png).unwrap();
    out.into_inner()
}

/// A PNG file of 8 x 8 equal pixels in one of the forms that tools write masks in.
fn mask(colour: png::ColorType, depth: png::BitDepth, row: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, 8, 8);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if colour == png::ColorType::Indexed {
        encoder.set_palette(vec![0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]);
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&row.repeat(8)).unwrap();
    writer.finish().unwrap();
    out
}

fn input(name: &str, dims: &[usize], integers: bool) -> TensorSpec {
    TensorSpec {
        name: name.into(),
        dims: dims.to_vec(),
        integers,
    }
}

fn wanted(inputs: &[TensorSpec], targets: Targets) -> Wanted {
    Wanted {
        inputs: inputs.to_vec(),
        targets,
        preprocessing: Preprocessing::default(),
        preset: Preset::Unit,
    }
}

/// Opens `spec` (with DIR for the folder) over `files`.
fn opened(
    dir: &Path,
    files: &[(&str, Vec<u8>)],
    spec: &str,
    wanted: &Wanted,
) -> Result<Splits, String> {
    for (name, bytes) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let dir = dir.display().to_string();
    let spec: DataSpec = spec.replace("DIR", &dir).parse().unwrap();
    open_samples(&spec, wanted).map_err(|error| error.to_string().replace(&dir, "DIR"))
}

/// All samples of all splits, in the order of their first number: inputs and targets.
fn samples(splits: &Splits) -> Vec<(Vec<f32>, Vec<f32>)> {
    let mut all = Vec::new();
    for part in [&splits.train, &splits.search, &splits.test] {
        let size: usize = part.image_shape().iter().product();
        for index in 0..part.len() {
            let (mut row, mut target) = (vec![0.0; size], vec![0.0; part.target_len()]);
            part.decode(index, &mut row).unwrap();
            part.target(index, &mut target).unwrap();
            all.push((row, target));
        }
    }
    all.sort_by(|a, b| a.0[0].total_cmp(&b.0[0]));
    all
}

#[test]
fn arrays_by_name_become_rows_in_the_order_of_the_network() {
    let dir = tempfile::tempdir().unwrap();
    let file = |first: f32, id: i64| {
        npz(&[
            ("ids", integers(&[2], id)),
            ("x", floats(&[2, 2], first)),
            ("y", floats(&[1], 10.0 * first)),
        ])
    };
    let several = npz(&[
        ("ids", integers(&[3, 2], 9)),
        ("x", floats(&[3, 2, 2], 100.0)),
        ("y", floats(&[3, 1], 7.0)),
    ]);
    let files = [
        ("a.npz", file(0.0, 3)),
        ("b.npz", file(50.0, 4)),
        ("c.npz", several),
    ];
    let inputs = [input("x", &[2, 2], false), input("ids", &[2], true)];
    let targets = Targets::Values(vec![input("y", &[1], false)]);
    let wanted = wanted(&inputs, targets);
    let splits = opened(dir.path(), &files, "npz:DIR,search=1,test=1", &wanted).unwrap();
    let rows = samples(&splits);
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[0], (vec![0., 1., 2., 3., 3., 3.], vec![0.]));
    assert_eq!(rows[1], (vec![50., 51., 52., 53., 4., 4.], vec![500.]));
    assert_eq!(rows[4], (vec![108., 109., 110., 111., 9., 9.], vec![9.]));
}

#[test]
fn a_table_gives_values_and_labels_to_files() {
    let dir = tempfile::tempdir().unwrap();
    let table =
        "path,label,left,top\ns/a.wav,yes,1,2.5\ns/b.wav,no,3,4\ns/c.wav,yes,5,6\ns/d.wav,no,7,8\n";
    let sound = |loud: i16| wav(8000, &[loud; 6]);
    let files = [
        ("t.csv", table.as_bytes().to_vec()),
        ("s/a.wav", sound(0)),
        ("s/b.wav", sound(8192)),
        ("s/c.wav", sound(16384)),
        ("s/d.wav", sound(24576)),
    ];
    let inputs = [input("x", &[1, 8], false)];
    let values = Targets::Values(vec![input("at", &[2], false)]);
    let spec = "csv:DIR/t.csv,search=1,test=1";
    let splits = opened(dir.path(), &files, spec, &wanted(&inputs, values)).unwrap();
    let rows = samples(&splits);
    // Silence follows a short sound.
    assert_eq!(rows[1].0, [0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.0, 0.0]);
    assert_eq!(rows[1].1, [3.0, 4.0]);
    let splits = opened(dir.path(), &[], spec, &wanted(&inputs, Targets::Class)).unwrap();
    assert_eq!(splits.train.classes(), ["no", "yes"]);
}

#[test]
fn images_and_their_masks_are_found_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    let names: Vec<(String, String)> = (0..4)
        .map(|i| (format!("images/{i}.png"), format!("masks/{i}.png")))
        .collect();
    for (i, (image, mask)) in (0u8..).zip(&names) {
        files.push((&image[..], png(8, i * 51)));
        files.push((&mask[..], png(8, i % 3)));
    }
    let mask = Targets::Mask {
        output: "y".into(),
        dims: vec![4, 4],
        classes: 3,
    };
    let inputs = [input("x", &[1, 8, 8], false)];
    let spec = "images:DIR,search=1,test=1";
    let splits = opened(dir.path(), &files, spec, &wanted(&inputs, mask)).unwrap();
    let rows = samples(&splits);
    let grey = vec![102.0 * (1.0 / 255.0); 64];
    assert_eq!(rows[2].0, grey);
    assert_eq!(rows[2].1, vec![2.0; 16]);
    assert_eq!(rows[3].1, vec![0.0; 16]);
}

#[test]
fn a_mask_names_the_same_classes_in_every_form_of_png() {
    use png::{BitDepth, ColorType};
    let check = |colour: ColorType, depth: BitDepth, row: &[u8], class: f32| {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<[String; 2]> = (0..3)
            .map(|i| [format!("images/{i}.png"), format!("masks/{i}.png")])
            .collect();
        let files: Vec<(&str, Vec<u8>)> = names
            .iter()
            .flat_map(|[image, of]| [(&image[..], png(8, 0)), (&of[..], mask(colour, depth, row))])
            .collect();
        let targets = Targets::Mask {
            output: "y".into(),
            dims: vec![4, 4],
            classes: 3,
        };
        let wanted = wanted(&[input("x", &[1, 8, 8], false)], targets);
        let splits = opened(dir.path(), &files, "images:DIR,search=1,test=1", &wanted).unwrap();
        for (_, target) in samples(&splits) {
            assert_eq!(target, vec![class; 16], "{colour:?} of {depth:?}");
        }
    };
    check(ColorType::Grayscale, BitDepth::One, &[0xff], 1.0);
    check(ColorType::Grayscale, BitDepth::Two, &[0xaa; 2], 2.0);
    check(ColorType::Grayscale, BitDepth::Four, &[0x22; 4], 2.0);
    check(ColorType::Grayscale, BitDepth::Eight, &[2; 8], 2.0);
    check(
        ColorType::Grayscale,
        BitDepth::Sixteen,
        &[0, 2].repeat(8),
        2.0,
    );
    check(ColorType::Indexed, BitDepth::One, &[0xff], 1.0);
    check(ColorType::Indexed, BitDepth::Two, &[0xaa; 2], 2.0);
    check(ColorType::Indexed, BitDepth::Four, &[0x11; 4], 1.0);
    check(ColorType::Indexed, BitDepth::Eight, &[2; 8], 2.0);
    check(
        ColorType::GrayscaleAlpha,
        BitDepth::Eight,
        &[1, 255].repeat(8),
        1.0,
    );
    check(ColorType::Indexed, BitDepth::Eight, &[255; 8], 255.0);
}

#[test]
fn a_table_is_read_as_spreadsheets_write_it() {
    let check = |table: &str| {
        let dir = tempfile::tempdir().unwrap();
        let table = table.replace("DIR", &dir.path().display().to_string());
        let files = [
            ("t.csv", table.clone().into_bytes()),
            ("a,1.wav", wav(8000, &[1; 8])),
            ("b.WAV", wav(8000, &[2; 8])),
            ("c.wav", wav(8000, &[3; 8])),
        ];
        let wanted = wanted(&[input("x", &[1, 8], false)], Targets::Class);
        let splits = opened(dir.path(), &files, "csv:DIR/t.csv,search=1,test=1", &wanted);
        let splits = splits.unwrap();
        assert_eq!(splits.train.classes(), ["no", "yes"], "{table}");
    };
    check("\u{feff}path,label\r\n\"a,1.wav\",yes\r\nb.WAV,no\r\nDIR/c.wav,no\r\n");
    check("\"path\",\"label\"\n\"a,1.wav\",\"yes\"\n\n ./b.WAV , no \nc.wav,no");
}

/// The sentence for files that do not fit.
fn sentence(files: &[(&str, Vec<u8>)], spec: &str, wanted: &Wanted) -> String {
    let dir = tempfile::tempdir().unwrap();
    match opened(dir.path(), files, spec, wanted) {
        Ok(_) => "accepted".into(),
        Err(error) => error,
    }
}

#[test]
fn what_does_not_fit_is_one_sentence() {
    let two = [input("x", &[2, 2], false), input("ids", &[2], true)];
    let plain = wanted(&two, Targets::None);
    let x = || ("x", floats(&[2, 2], 0.0));
    let of = |arrays: &[(&str, Vec<u8>)], wanted: &Wanted| {
        sentence(&[("a.npz", npz(arrays))], "npz:DIR", wanted)
    };
    let image = wanted(&[input("x", &[3, 8, 8], false)], Targets::None);
    let sound = wanted(&[input("x", &[1, 8], false)], Targets::None);
    let valued = |size: usize| {
        let values = Targets::Values(vec![input("at", &[size], false)]);
        wanted(&[input("x", &[1, 8], false)], values)
    };
    let table = |text: &str| {
        [
            ("t.csv", text.as_bytes().to_vec()),
            ("a.wav", wav(8000, &[1; 8])),
        ]
    };
    let classes = wanted(&[input("x", &[1, 8], false)], Targets::Class);
    let labelled = |text: &str| sentence(&table(text), "csv:DIR/t.csv", &classes);
    let targets = Targets::Mask {
        output: "y".into(),
        dims: vec![4, 4],
        classes: 3,
    };
    let masked = wanted(&[input("x", &[1, 8, 8], false)], targets);
    let masks = |grey: u8| {
        let dir = tempfile::tempdir().unwrap();
        let name = |i: usize, kind: &str| format!("{kind}/{i}.png");
        let files: Vec<(String, Vec<u8>)> = (0..3)
            .flat_map(|i| {
                [
                    (name(i, "images"), png(8, 0)),
                    (name(i, "masks"), png(8, grey)),
                ]
            })
            .collect();
        let files: Vec<(&str, Vec<u8>)> = files
            .iter()
            .map(|(name, bytes)| (&name[..], bytes.clone()))
            .collect();
        let spec = "images:DIR,search=1,test=1";
        let splits = opened(dir.path(), &files, spec, &masked).unwrap();
        let read = splits.test.target(0, &mut [0.0; 16]);
        let file = |error: datasets::DataError| {
            let text = error
                .to_string()
                .replace(&dir.path().display().to_string(), "DIR");
            // Which of the three is the test's is drawn.
            text.replace(['0', '1', '2'], "N")
        };
        read.map_or_else(file, |()| "accepted".into())
    };
    let all = [
        (
            "another name",
            of(&[x(), ("id", integers(&[2], 0))], &plain),
        ),
        (
            "another rank",
            of(
                &[("x", floats(&[4], 0.0)), ("ids", integers(&[2], 0))],
                &plain,
            ),
        ),
        (
            "another size",
            of(
                &[("x", floats(&[2, 3], 0.0)), ("ids", integers(&[2], 0))],
                &plain,
            ),
        ),
        (
            "another type",
            of(&[x(), ("ids", floats(&[2], 0.0))], &plain),
        ),
        (
            "text",
            of(&[x(), ("ids", npy("<U2", &[2], &[0; 16]))], &plain),
        ),
        (
            "cut off",
            of(
                &[
                    ("x", npy("<f4", &[3, 2, 2], &[0; 8])),
                    ("ids", integers(&[3, 2], 0)),
                ],
                &plain,
            ),
        ),
        (
            "other counts",
            of(
                &[
                    ("x", floats(&[3, 2, 2], 0.0)),
                    ("ids", integers(&[2, 2], 0)),
                ],
                &plain,
            ),
        ),
        (
            "no archive",
            sentence(&[("a.npz", b"text".to_vec())], "npz:DIR", &plain),
        ),
        (
            "no file",
            sentence(&[("a.txt", Vec::new())], "npz:DIR", &plain),
        ),
        ("no folder", sentence(&[], "npz:DIR/nowhere", &plain)),
        (
            "no labels",
            of(
                &[x(), ("ids", integers(&[2], 0))],
                &wanted(&two, Targets::Class),
            ),
        ),
        (
            "no values",
            of(
                &[x(), ("ids", integers(&[2], 0))],
                &wanted(&two, valued(2).targets),
            ),
        ),
        (
            "one array a file",
            sentence(&[("a.npy", floats(&[3], 0.0))], "npy:DIR", &sound),
        ),
        (
            "images for two inputs",
            sentence(&[("a.png", png(8, 0))], "images:DIR", &plain),
        ),
        (
            "images for a sound",
            sentence(&[("a.png", png(8, 0))], "images:DIR", &sound),
        ),
        (
            "sounds for an image",
            sentence(&[("a.wav", wav(8000, &[1; 8]))], "wav:DIR", &image),
        ),
        (
            "no sound",
            sentence(&[("a.wav", b"RIFF".to_vec())], "wav:DIR", &sound),
        ),
        (
            "two rates",
            sentence(
                &[
                    ("a.wav", wav(8000, &[1; 8])),
                    ("b.wav", wav(16000, &[1; 8])),
                ],
                "wav:DIR",
                &sound,
            ),
        ),
        (
            "no number",
            sentence(&table("path,at\na.wav,left\n"), "csv:DIR/t.csv", &valued(1)),
        ),
        (
            "too few columns",
            sentence(&table("path,at\na.wav,1\n"), "csv:DIR/t.csv", &valued(2)),
        ),
        ("a class too many", masks(7)),
        (
            "no image",
            sentence(&[("a.png", b"hello".to_vec())], "images:DIR", &image),
        ),
        (
            "a mask that is turned",
            sentence(
                &[
                    ("images/a.png", png(8, 0)),
                    ("masks/a.png", grey_png((16, 8), 0)),
                ],
                "images:DIR",
                &masked,
            ),
        ),
        ("a header-less table", labelled("a.wav,left\na.wav,right\n")),
        ("no label", labelled("path,label\na.wav,\n")),
        (
            "a label that is no class",
            labelled("path,label\na.wav,4000000000\n"),
        ),
        (
            "a file that is not there",
            labelled("path,label\nz.wav,1\n"),
        ),
        ("a line without a file", labelled("path,label\n,1\n")),
        ("lines of other lengths", labelled("path,label\na.wav\n")),
        (
            "a table of another encoding",
            sentence(
                &[("t.csv", b"path,label\na.wav,\xe9\n".to_vec())],
                "csv:DIR/t.csv",
                &classes,
            ),
        ),
        (
            "another ending",
            sentence(
                &[("t.csv", b"path\na.gif\n".to_vec()), ("a.gif", Vec::new())],
                "csv:DIR/t.csv",
                &sound,
            ),
        ),
        (
            "a class of an archive that is none",
            of(
                &[
                    x(),
                    ("ids", integers(&[2], 0)),
                    ("label", integers(&[], 1 << 40)),
                ],
                &wanted(&two, Targets::Class),
            ),
        ),
        (
            "no number in an array",
            of(
                &[
                    ("x", floats(&[3, 2, 2], f32::NAN)),
                    ("ids", integers(&[3, 2], 0)),
                ],
                &plain,
            ),
        ),
        (
            "an array of Python's objects",
            of(
                &[
                    ("x", npy("|O", &[2, 2], &[0; 32])),
                    ("ids", integers(&[2], 0)),
                ],
                &plain,
            ),
        ),
        (
            "no sample in an array",
            of(
                &[
                    ("x", floats(&[0, 2, 2], 0.0)),
                    ("ids", integers(&[0, 2], 0)),
                ],
                &plain,
            ),
        ),
        (
            "an array that is cut off",
            sentence(
                &[("a.npy", floats(&[1, 8], 0.0)[..90].to_vec())],
                "npy:DIR",
                &sound,
            ),
        ),
        (
            "an empty array file",
            sentence(&[("a.npy", Vec::new())], "npy:DIR", &sound),
        ),
        (
            "a sound of no length",
            sentence(&[("a.wav", wav(8000, &[]))], "wav:DIR", &sound),
        ),
        (
            "a sound that is cut off",
            sentence(
                &[("a.wav", wav(8000, &[1; 8])[..50].to_vec())],
                "wav:DIR",
                &sound,
            ),
        ),
        (
            "classes of images",
            sentence(&[], "cifar10:DIR", &valued(1)),
        ),
    ];
    let text: String = all
        .iter()
        .map(|(what, sentence)| format!("{what}: {sentence}\n"))
        .collect();
    assert!(!text.contains("accepted"), "{text}");
    insta::assert_snapshot!(text);
}
