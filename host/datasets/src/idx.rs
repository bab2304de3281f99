//! IDX files, the format of MNIST and Fashion-MNIST (described at the end of
//! <http://yann.lecun.com/exdb/mnist/>), gzipped or not.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use crate::array::Raw;
use crate::split::StoredSplits;
use crate::{DataError, DataSpec, IdxFlavour, InputSpec};

/// Magic number of unsigned bytes in three dimensions: images, rows, columns.
const IMAGES: u32 = 0x0000_0803;
/// Magic number of unsigned bytes in one dimension.
const LABELS: u32 = 0x0000_0801;
const FASHION: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

pub(crate) fn open(
    dir: &Path,
    flavour: IdxFlavour,
    spec: &DataSpec,
    input: &InputSpec,
) -> Result<StoredSplits, DataError> {
    if !dir.is_dir() {
        let expected =
            "a folder with train-images-idx3-ubyte and its like, gzipped or not".to_owned();
        return Err(DataError::Missing {
            path: dir.to_path_buf(),
            expected,
        });
    }
    let (train_images, train_labels) =
        (find(dir, "train-images", 3)?, find(dir, "train-labels", 1)?);
    let (test_images, test_labels) = (find(dir, "t10k-images", 3)?, find(dir, "t10k-labels", 1)?);
    let train = read(&train_images, &train_labels)?;
    let test = read(&test_images, &test_labels)?;
    let classes: Vec<String> = match flavour {
        IdxFlavour::Mnist => (0..10).map(|digit| digit.to_string()).collect(),
        IdxFlavour::FashionMnist => FASHION.map(str::to_owned).to_vec(),
        IdxFlavour::Plain => {
            let count = train
                .labels
                .iter()
                .max()
                .map_or(0, |&label| usize::from(label) + 1);
            (0..count).map(|class| class.to_string()).collect()
        }
    };
    let kind = spec.kind();
    let build = |raw: Raw, part: &str, labels: &Path| {
        if let Some(record) = raw
            .labels
            .iter()
            .position(|&label| usize::from(label) >= classes.len())
        {
            let label = usize::from(raw.labels[record]);
            return Err(DataError::Label {
                path: labels.to_path_buf(),
                record,
                label,
                classes: classes.len(),
            });
        }
        raw.into_dataset(&format!("{kind} {part}"), dir, classes.clone(), spec, input)
    };
    Ok(StoredSplits::with_test(
        build(train, "train", &train_labels)?,
        build(test, "test", &test_labels)?,
    ))
}

fn find(dir: &Path, stem: &str, dims: u32) -> Result<PathBuf, DataError> {
    let names = [
        format!("{stem}-idx{dims}-ubyte"),
        format!("{stem}.idx{dims}-ubyte"),
    ];
    for name in &names {
        for name in [name.clone(), format!("{name}.gz")] {
            let path = dir.join(name);
            if path.is_file() {
                return Ok(path);
            }
        }
    }
    Err(DataError::Missing {
        path: dir.join(&names[0]),
        expected: format!("{} or {}.gz", names[0], names[0]),
    })
}

fn content(path: &Path) -> Result<Vec<u8>, DataError> {
    let bytes =
        std::fs::read(path).map_err(|e| DataError::missing_or_io(path, e, "an IDX file"))?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    MultiGzDecoder::new(&bytes[..])
        .read_to_end(&mut plain)
        .map_err(|error| DataError::Corrupt {
            path: path.to_path_buf(),
            reason: error.to_string(),
        })?;
    Ok(plain)
}

/// Returns the dimensions and the body, whose size is checked against them.
fn parse<'a>(
    path: &Path,
    bytes: &'a [u8],
    magic: u32,
    what: &'static str,
) -> Result<(Vec<usize>, &'a [u8]), DataError> {
    let truncated = |reason: String| DataError::Truncated {
        path: path.to_path_buf(),
        reason,
    };
    let word = |offset: usize| {
        let word = bytes
            .get(offset..offset + 4)
            .and_then(|word| <[u8; 4]>::try_from(word).ok());
        word.map(u32::from_be_bytes)
            .ok_or_else(|| truncated(format!("{} bytes hold no header", bytes.len())))
    };
    let found = word(0)?;
    if found != magic {
        return Err(DataError::Magic {
            path: path.to_path_buf(),
            found,
            expected: magic,
            what,
        });
    }
    let rank = (magic & 0xff) as usize;
    let dims = (0..rank)
        .map(|i| Ok(word(4 + 4 * i)? as usize))
        .collect::<Result<Vec<_>, DataError>>()?;
    let body = &bytes[4 + 4 * rank..];
    let size = dims
        .iter()
        .try_fold(1usize, |product, &dim| product.checked_mul(dim));
    if size != Some(body.len()) || body.is_empty() {
        return Err(truncated(format!(
            "{} bytes follow a header with the dimensions {dims:?}",
            body.len()
        )));
    }
    Ok((dims, body))
}

fn read(images: &Path, labels: &Path) -> Result<Raw, DataError> {
    let (image_bytes, label_bytes) = (content(images)?, content(labels)?);
    let (dims, pixels) = parse(images, &image_bytes, IMAGES, "an IDX file of images")?;
    let (count, classes) = parse(labels, &label_bytes, LABELS, "an IDX file of labels")?;
    if dims[0] != count[0] {
        let reason = format!(
            "{} labels for the {} images of '{}'",
            count[0],
            dims[0],
            images.display()
        );
        return Err(DataError::Truncated {
            path: labels.to_path_buf(),
            reason,
        });
    }
    Ok(Raw {
        pixels: pixels.to_vec(),
        labels: classes.iter().map(|&label| u16::from(label)).collect(),
        shape: [1, dims[1], dims[2]],
    })
}
