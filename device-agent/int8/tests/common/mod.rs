//! Running one operator, and what its formula reads.

use int8_engine::{Build, Clamp, Element, Op, Plan, Tensor, Window, run};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Bytes that begin on a word.
#[repr(align(4))]
pub struct Words<const N: usize>(pub [u8; N]);

/// The arena of every test.
const ARENA: usize = 1 << 15;

pub fn tensor(offset: u32, [height, width, channels]: [u16; 3], zero_point: i8) -> Tensor {
    Tensor {
        offset,
        height,
        width,
        channels,
        zero_point,
        element: Element::I8,
    }
}

pub fn random(rng: &mut ChaCha8Rng, count: usize) -> Vec<i8> {
    (0..count).map(|_| rng.random_range(-128..=127)).collect()
}

pub fn count(of: &Tensor) -> usize {
    of.dims().iter().product()
}

/// Runs one operator on the integers of its inputs; returns the bytes of the output.
pub fn outputs(op: Op, inputs: &[(Tensor, &[i8])], output: Tensor, weights: &[u8]) -> Vec<u8> {
    let mut held = Box::new(Words([0; ARENA]));
    held.0[..weights.len()].copy_from_slice(weights);
    let build = Build {
        arena: ARENA as u32,
        weights: weights.len() as u32,
        input: inputs[0].0,
        output,
        ops: &[op],
    };
    let mut bytes = Vec::new();
    build.write(&mut bytes).expect("the operator is sound");
    let plan = Plan::parse(&bytes).expect("what was written reads");
    assert_eq!(plan.ops().collect::<Vec<_>>(), [op]);
    let mut arena = Box::new(Words([0x55; ARENA]));
    for (tensor, integers) in inputs {
        let start = tensor.offset as usize;
        let bytes = integers.iter().map(|&v| v as u8);
        arena.0[start..start + integers.len()]
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = from);
    }
    run(&plan, &held.0[..weights.len()], &mut arena.0, &mut ()).expect("it runs");
    let region = output.region();
    arena.0[region.offset as usize..][..region.len as usize].to_vec()
}

/// Rounds as ONNX does.
pub fn rounded(value: f64, zero_point: i8, clamp: Clamp) -> i8 {
    let rounded = value.round_ties_even() + f64::from(zero_point);
    rounded.clamp(clamp.low.into(), clamp.high.into()) as i8
}

/// The element of a tensor, or nothing outside of it.
pub fn at(of: &(Tensor, Vec<i8>), y: i64, x: i64, c: usize) -> Option<i32> {
    let [height, width, channels] = of.0.dims();
    let inside = (0..height as i64).contains(&y) && (0..width as i64).contains(&x);
    inside.then(|| of.1[(y as usize * width + x as usize) * channels + c].into())
}

/// The position that a window's position covers.
pub fn covered(window: &Window, axis: usize, out: usize, position: usize) -> i64 {
    let step = position * usize::from(window.dilation[axis]);
    (out * usize::from(window.stride[axis]) + step) as i64 - i64::from(window.pad[axis])
}

/// A window that keeps the size.
pub const SAME: Window = Window {
    kernel: [3, 3],
    pad: [1, 1],
    ..Window::ONE
};
