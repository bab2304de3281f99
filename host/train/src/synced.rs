//! Statistics of batch normalisations over all processes of a training (PyTorch's SyncBatchNorm).

use collective::Team;
use tch::{Device, TchError, Tensor};
use torch_exec::{NormMode, Sums};

/// Sums over the processes that have a part of the same batch.
pub(crate) struct AcrossTeam<'a> {
    team: &'a Team,
    /// Rows of this process, by which its loss counts.
    rows: f64,
}

impl<'a> AcrossTeam<'a> {
    /// For this process's rows `images` `[N, ...]`, at least one.
    pub fn new(team: &'a Team, images: &Tensor) -> Self {
        let rows = images.size().first().map_or(1.0, |&rows| rows as f64);
        Self { team, rows }
    }
}

impl Sums for AcrossTeam<'_> {
    fn sum(&self, tensor: &Tensor) -> Result<Tensor, TchError> {
        let host = tensor.f_to_device(Device::Cpu)?;
        let sum = self.team.differentiable_sum(&host, self.rows);
        let sum = sum.map_err(|error| TchError::Torch(error.to_string()))?;
        sum.f_to_device(tensor.device())
    }
}

/// Statistics over all processes if there are `sums`, else those of `own`.
pub(crate) fn over_all<'a>(sums: Option<&'a AcrossTeam<'a>>, own: NormMode<'a>) -> NormMode<'a> {
    let momentum = match own {
        NormMode::Update { momentum } => Some(momentum),
        _ => None,
    };
    match sums {
        Some(sums) => NormMode::Synced { sums, momentum },
        None => own,
    }
}
