//! Plans whose bytes were changed: they are refused, or run within their bounds.

use int8_engine::{
    Add, AveragePool, Build, Clamp, Conv, Depthwise, Element, MaxPool, Op, Place, Plan, PlanError,
    Requant, RunError, Table, Tensor, Window, run,
};
use proptest::prelude::*;

const ARENA: u32 = 2048;
const WEIGHTS: u32 = 1024;

#[repr(align(4))]
struct Words<const N: usize>([u8; N]);

fn tensor(offset: u32, [height, width, channels]: [u16; 3]) -> Tensor {
    Tensor {
        offset,
        height,
        width,
        channels,
        zero_point: -3,
        element: Element::I8,
    }
}

/// A plan with every kind of operator.
fn plan() -> Vec<u8> {
    let (a, b, c) = (
        tensor(0, [4, 4, 8]),
        tensor(128, [4, 4, 8]),
        tensor(256, [2, 2, 8]),
    );
    let window = Window {
        kernel: [3, 3],
        pad: [1, 1],
        ..Window::ONE
    };
    let halved = Window {
        stride: [2, 2],
        ..window
    };
    let (requant, clamp) = (
        Requant {
            shift: 40,
            exact: false,
        },
        Clamp::NONE,
    );
    let ops: [Op; 7] = [
        Conv {
            input: a,
            output: b,
            window,
            groups: 1,
            requant,
            clamp,
            weights: 64,
            scales: 0,
            scratch: 512,
        }
        .into(),
        Depthwise {
            input: b,
            output: a,
            window,
            requant,
            clamp,
            weights: 64,
            scales: 0,
            scratch: 512,
        }
        .into(),
        Add {
            inputs: [a, b],
            output: a,
            multipliers: [1 << 20; 2],
            shift: 21,
            clamp,
        }
        .into(),
        Place::all(a, b).into(),
        Table {
            input: b,
            output: b,
            table: 768,
        }
        .into(),
        MaxPool {
            input: b,
            output: c,
            window: halved,
        }
        .into(),
        AveragePool {
            input: b,
            output: c,
            window: halved,
            whole: false,
            multiplier: 1 << 30,
            shift: 30,
            clamp,
        }
        .into(),
    ];
    let build = Build {
        arena: ARENA,
        weights: WEIGHTS,
        input: a,
        output: c,
        ops: &ops,
    };
    let mut bytes = Vec::new();
    build.write(&mut bytes).expect("the operators are sound");
    bytes
}

/// Runs a plan if it is accepted and asks for no more than there is.
fn try_run(bytes: &[u8]) -> Option<Result<(), RunError>> {
    let plan = Plan::parse(bytes).ok()?;
    let weights = Words([0xA7; WEIGHTS as usize]);
    let mut arena = Words([0x31; ARENA as usize]);
    Some(run(&plan, &weights.0, &mut arena.0, &mut ()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn changed_plans_are_refused_or_stay_within_their_bounds(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = plan();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(Err(error)) = try_run(&bytes) {
            let too_little = matches!(error, RunError::Arena { .. } | RunError::Weights { .. });
            prop_assert!(too_little, "{}", error);
        }
    }

    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Plan::parse(&bytes).is_err());
    }
}

#[test]
fn a_plan_with_every_operator_runs() {
    assert_eq!(try_run(&plan()), Some(Ok(())));
}

#[test]
fn a_plan_that_is_cut_or_continued_is_refused() {
    let whole = plan();
    for end in 0..whole.len() {
        assert!(Plan::parse(&whole[..end]).is_err(), "{end} bytes");
    }
    let longer = [&whole[..], &[0]].concat();
    let held = longer.len();
    let stated = whole.len() as u32;
    let error = Plan::parse(&longer).unwrap_err();
    assert_eq!(error, PlanError::Length { stated, held });
}

#[test]
fn another_version_is_named() {
    let mut bytes = plan();
    bytes[4] = 9;
    let error = Plan::parse(&bytes).unwrap_err();
    assert_eq!(error, PlanError::Version { found: 9 });
}

#[test]
fn too_little_memory_is_an_error() {
    let bytes = plan();
    let plan = Plan::parse(&bytes).expect("it is sound");
    let weights = Words([0; WEIGHTS as usize]);
    let mut arena = Words([0; ARENA as usize]);
    let needed = ARENA;
    let held = 100;
    let error = run(&plan, &weights.0, &mut arena.0[..held], &mut ()).unwrap_err();
    assert_eq!(error, RunError::Arena { needed, held });
    let needed = WEIGHTS;
    let error = run(&plan, &weights.0[..held], &mut arena.0, &mut ()).unwrap_err();
    assert_eq!(error, RunError::Weights { needed, held });
    let odd = &mut Words([0; ARENA as usize + 4]).0[1..];
    let error = run(&plan, &weights.0, odd, &mut ()).unwrap_err();
    assert_eq!(error, RunError::Alignment);
}
