//! Add: <https://onnx.ai/onnx/operators/onnx__Add.html>.

use tch::{TchError, Tensor};

use super::Args;

pub(super) fn add(args: &mut Args) -> Result<Tensor, TchError> {
    // In place only if the other operand widens neither the shape nor the kind.
    if let Some(i) = args.overwrite
        && let (Some(Some(own)), Some(Some(other))) = (args.inputs.get(i), args.inputs.get(1 - i))
        && own.size() == other.size()
        && own.kind() == other.kind()
    {
        let other = other.shallow_clone();
        if let Some(own) = args.scratch(i) {
            return own.f_add_(&other);
        }
    }
    args.need(0)?.f_add(args.need(1)?)
}
