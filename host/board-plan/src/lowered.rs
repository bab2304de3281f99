//! The result of lowering.

use int8_engine::{Element, Plan, PlanError, Tensor};

use crate::value::Quantity;

/// The most flash that the firmware takes, bytes.
pub const FIRMWARE_FLASH_BYTES: u32 = 32 << 10;
/// The most RAM that its variables and its stack take, bytes.
pub const FIRMWARE_RAM_BYTES: u32 = 5 << 10;
/// RAM that is kept for the firmware's code where it runs from there, bytes.
pub const FIRMWARE_CODE_IN_RAM_BYTES: u32 = 48 << 10;
/// Bytes of an operator's count.
const COUNT_BYTES: u64 = 4;

/// What a network needs of a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes of memory for tensors.
    pub arena: u32,
    /// The greatest of the tensors that are needed when the most bytes are, by the node that makes
    /// it.
    pub peak: String,
    /// Bytes of packed weights.
    pub weights: u32,
    /// Bytes of the plan.
    pub plan: u32,
    /// Number of operators.
    pub operators: u32,
}

/// Memory of a board that a network and the firmware take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Bytes of RAM.
    pub ram: u64,
    /// Bytes of flash.
    pub flash: u64,
}

impl Footprint {
    /// The memory with that of the firmware, whose code and whose network's weights are in flash or
    /// in RAM. Weights begin in a sector of their own, so a flash of large sectors holds less.
    #[must_use]
    pub fn needs(&self, in_ram: bool) -> Needs {
        let counts = COUNT_BYTES * u64::from(self.operators);
        let tensors = u64::from(self.arena) + u64::from(self.plan) + counts;
        let ram = tensors + u64::from(FIRMWARE_RAM_BYTES);
        let weights = u64::from(self.weights);
        if in_ram {
            let code = u64::from(FIRMWARE_CODE_IN_RAM_BYTES);
            return Needs {
                ram: ram + weights + code,
                flash: 0,
            };
        }
        Needs {
            ram,
            flash: weights + u64::from(FIRMWARE_FLASH_BYTES),
        }
    }
}

/// An input or output of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// Its name in the network.
    pub name: String,
    /// Its dimensions in the network, batch first.
    pub dims: Vec<usize>,
    /// Its place in the arena.
    pub tensor: Tensor,
    /// A scale, or one per channel.
    pub scales: Vec<f32>,
    /// How far the board's integers are below the network's, where these are no floats: 128 for
    /// bytes without a sign.
    pub integer_shift: Option<i32>,
}

/// A network for boards.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// The plan, for `int8_engine::Plan::parse`.
    pub plan: Vec<u8>,
    /// The packed weights.
    pub weights: Vec<u8>,
    /// What it needs.
    pub footprint: Footprint,
    /// The image.
    pub input: Port,
    /// The result.
    pub output: Port,
    /// The name of the node of each operator of the plan.
    pub nodes: Vec<String>,
    /// Whether the network ends in a Softmax, which is left to the reader of the result.
    pub softmax: bool,
}

impl Port {
    /// Height, width, channels.
    fn sizes(&self) -> [usize; 3] {
        self.tensor.dims()
    }

    /// Positions of the arena's elements in the network's order: channels first.
    fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let [height, width, channels] = self.sizes();
        let pixels = height * width;
        (0..channels).flat_map(move |channel| (0..pixels).map(move |p| p * channels + channel))
    }
}

impl Lowered {
    /// The multiplications of a weight and an activation in each operator of the plan.
    ///
    /// # Errors
    /// Those of [`Plan::parse`], if the plan was changed.
    pub fn macs(&self) -> Result<Vec<u64>, PlanError> {
        let plan = Plan::parse(&self.plan)?;
        Ok(plan.ops().map(|op| op.macs()).collect())
    }

    /// The bytes of an image for the input's place in the arena; `image` is in the network's
    /// order, channels first, and holds whole numbers where the network is fed integers. `None` if
    /// it has another number of elements.
    #[must_use]
    pub fn encode(&self, image: &[f32]) -> Option<Vec<u8>> {
        let quantity = Quantity {
            scale: *self.input.scales.first()?,
            zero_point: self.input.tensor.zero_point,
        };
        let mut bytes = vec![0; self.input.order().count()];
        if image.len() != bytes.len() {
            return None;
        }
        for (at, &value) in self.input.order().zip(image) {
            let integer = match self.input.integer_shift {
                None => quantity.round(value),
                Some(shift) => (value.round_ties_even() as i32 - shift).clamp(-128, 127) as i8,
            };
            bytes[at] = integer as u8;
        }
        Some(bytes)
    }

    /// The integers of a result, in the network's order, of the bytes of the output's place.
    /// `None` if there are fewer bytes.
    #[must_use]
    pub fn integers(&self, bytes: &[u8]) -> Option<Vec<i32>> {
        let at = |at: usize| match self.output.tensor.element {
            Element::I8 => bytes.get(at).map(|&b| i32::from(b as i8)),
            Element::I32 => {
                let word = bytes.get(4 * at..)?.first_chunk()?;
                Some(i32::from_le_bytes(*word))
            }
        };
        self.output.order().map(at).collect()
    }

    /// The values of a result, as [`Lowered::decode`] gives them, after the Softmax over channels
    /// that the network may end in.
    #[must_use]
    pub fn result(&self, bytes: &[u8]) -> Option<Vec<f32>> {
        let mut values = self.decode(bytes)?;
        if self.softmax {
            let channels = self.output.sizes()[2].max(1);
            let pixels = values.len() / channels;
            for pixel in 0..pixels {
                let of = || (0..channels).map(|channel| channel * pixels + pixel);
                let most = of().map(|at| values[at]).fold(f32::NEG_INFINITY, f32::max);
                of().for_each(|at| values[at] = (values[at] - most).exp());
                let sum: f32 = of().map(|at| values[at]).sum();
                of().for_each(|at| values[at] /= sum);
            }
        }
        Some(values)
    }

    /// The values of a result, in the network's order and before a Softmax, of the bytes of the
    /// output's place. `None` if there are fewer bytes.
    #[must_use]
    pub fn decode(&self, bytes: &[u8]) -> Option<Vec<f32>> {
        let integers = self.integers(bytes)?;
        let port = &self.output;
        let pixels = integers.len() / port.sizes()[2].max(1);
        if let Some(shift) = port.integer_shift {
            return Some(integers.iter().map(|&i| (i + shift) as f32).collect());
        }
        let value = |(index, &integer): (usize, &i32)| {
            let channel = index / pixels.max(1);
            let scale = port.scales.get(channel).or(port.scales.first())?;
            Some((integer - i32::from(port.tensor.zero_point)) as f32 * scale)
        };
        integers.iter().enumerate().map(value).collect()
    }
}
