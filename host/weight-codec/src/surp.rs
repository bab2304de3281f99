//! Successive refinement of a network's weights (SuRP; Isik, Weissman and No, AISTATS 2022).
//!
//! The weights are modelled as Laplacian. A step subtracts an amount from one residual that is
//! larger than the amount, and lowers the amount by the factor `1 - 1/n`; when no residual is
//! large enough, the amount is set anew from the mean residual. Every step lowers the squared
//! error, and the weights that are left at 0 are the pruned ones. So each prefix of the stream of
//! steps is a network, the sparser the shorter.
//!
//! ```text
//! "GPSR", version (1 byte), seed (8 bytes)
//! numbers: tensors; for each tensor its values; f32: its norm
//! CRC-32C of the above
//! bits, most significant first: refreshes and steps
//! ```
//!
//! Numbers have 7 bits per byte; all others are little endian. The encoder walks through the
//! weights in an order drawn from the seed and codes the number of weights that it passes before
//! the next step, which is distributed geometrically, with a Rice code; a first step of a weight
//! is followed by its sign. The paper draws one of the large residuals at random, which this walk
//! does without sending the index.
//!
//! Departures from the authors' code: the amount is `alpha` times the mean residual, where alpha
//! falls until a residual is larger, instead of after every 20 failures; and the amounts are sent
//! because the decoder cannot compute them: it does not know the residuals. The decoder also
//! estimates what is left of a refined weight.

mod bits;
mod decode;
mod encode;
mod walk;

pub use decode::SurpDecoder;
pub use encode::{SurpConfig, SurpStop, surp_encode};

/// The first bytes of a stream.
const MAGIC: [u8; 4] = *b"GPSR";
const VERSION: u8 = 1;

/// The factor by which a step lowers the amount, for `n` weights. A single weight halves it.
fn decay(n: usize) -> f64 {
    let n = n.max(2) as f64;
    (n - 1.0) / n
}
