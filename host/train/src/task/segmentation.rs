//! Segmentation: a class for each position, scored by the mean intersection over union.

use datasets::Dataset;
use onnx_graph::{Graph, ValueId};
use tch::{Kind, Reduction, Tensor};
use torch_exec::distillation;

use super::form::{by_position, distribution, float_outputs};
use super::{Figure, Score, Tally, Task, count, only};
use crate::TrainError;
use crate::loss::LossWeights;

const NAME: &str = "segmentation";
/// The class of pixels that do not count.
const IGNORED: i64 = 255;

/// One output holds logits or probabilities of classes on its second axis, for each position of the
/// axes behind it. Targets are class numbers for the same positions; 255 does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segmentation {
    output: String,
    classes: usize,
}

impl Segmentation {
    /// Takes the output called `name`, or the first with at least two classes and an axis of
    /// positions.
    ///
    /// # Errors
    /// [`TrainError::Output`] if the network has no such output.
    pub fn new(graph: &Graph, name: Option<&str>) -> Result<Self, TrainError> {
        let floats = float_outputs(graph);
        let classes = |id: &ValueId| {
            let shape = graph.value(*id).shape.as_deref()?;
            let classes = shape.get(1)?.known()?;
            (shape.len() >= 3 && classes >= 2).then_some(classes)
        };
        let named = |id: &&ValueId| name.is_none_or(|name| graph.value(**id).name == name);
        let found = floats
            .iter()
            .filter(named)
            .find_map(|id| Some((graph.value(*id).name.clone(), classes(id)?)));
        let (output, classes) = found.ok_or_else(|| {
            let which = name.map_or(String::new(), |name| format!(" '{name}'"));
            TrainError::Output {
                task: NAME,
                reason: format!(
                    "the network has no output{which} with classes on the second axis and positions behind it"
                ),
            }
        })?;
        Ok(Self { output, classes })
    }

    /// The name of the output.
    #[must_use]
    pub fn output(&self) -> &str {
        &self.output
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    fn output_of(&self, graph: &Graph) -> Result<ValueId, TrainError> {
        let mut outputs = graph.outputs().iter();
        let named = outputs.find(|id| graph.value(**id).name == self.output);
        named.copied().ok_or_else(|| TrainError::Output {
            task: NAME,
            reason: format!("the network has no output '{}'", self.output),
        })
    }

    /// The sizes behind the classes: those of a mask.
    ///
    /// # Errors
    /// [`TrainError::Output`] if the network leaves them open.
    pub fn positions(&self, graph: &Graph) -> Result<Vec<usize>, TrainError> {
        let shape = graph.value(self.output_of(graph)?).shape.as_deref();
        let sizes: Option<Vec<usize>> =
            shape.and_then(|shape| shape.get(2..)?.iter().map(|dim| dim.known()).collect());
        sizes.ok_or_else(|| TrainError::Output {
            task: NAME,
            reason: format!(
                "the sizes of the output '{}' are open; fix them with --input-size",
                self.output
            ),
        })
    }
}

/// The masks that are read to find out whether they name classes.
const MASKS: usize = 32;

/// Refuses masks of black and white: 255 does not count, so that they would name a single class.
fn check_masks(data: &dyn Dataset) -> Result<(), TrainError> {
    let mut mask = vec![0.0; data.target_len()];
    let mut has_ignored = false;
    for index in 0..data.len().min(MASKS) {
        data.target(index, &mut mask)?;
        let is_ignored = |class: f32| class == IGNORED as f32;
        if mask.iter().any(|&class| class > 0.0 && !is_ignored(class)) {
            return Ok(());
        }
        has_ignored |= mask.iter().any(|&class| is_ignored(class));
    }
    match has_ignored {
        true => Err(TrainError::Output {
            task: NAME,
            reason: format!(
                "the masks hold only 0 and {IGNORED}, and {IGNORED} does not count: write the second class as 1"
            ),
        }),
        false => Ok(()),
    }
}

/// The classes of a batch in the positions of `head`.
fn classes_of(targets: &Tensor, head: &Tensor) -> Result<Tensor, TrainError> {
    let mut shape = head.size();
    shape.remove(1);
    Ok(targets.f_to_kind(Kind::Int64)?.f_reshape(shape)?)
}

fn cross_entropy(head: &Tensor, targets: &Tensor) -> Result<Tensor, TrainError> {
    let logits = head.f_to_kind(Kind::Float)?;
    let weight = None::<&Tensor>;
    let classes = classes_of(targets, head)?;
    Ok(logits.f_cross_entropy_loss(&classes, weight, Reduction::Mean, IGNORED, 0.0)?)
}

impl Task for Segmentation {
    fn name(&self) -> &'static str {
        NAME
    }

    fn score_name(&self) -> &'static str {
        "mean IoU"
    }

    fn heads(&self, graph: &Graph) -> Result<Vec<ValueId>, TrainError> {
        let output = self.output_of(graph)?;
        // Elsewhere the classes of the logits are not those of the masks' pixels.
        let softmax = distribution(graph, output).filter(|of| of.axis == 1);
        Ok(vec![softmax.map_or(output, |of| of.logits)])
    }

    fn check(&self, graph: &Graph, data: &dyn Dataset) -> Result<(), TrainError> {
        let positions: usize = self.positions(graph)?.iter().product();
        let held = data.target_len();
        if held != positions {
            return Err(TrainError::Output {
                task: NAME,
                reason: format!(
                    "the output '{}' has {positions} positions, the masks of the data have {held}",
                    self.output
                ),
            });
        }
        check_masks(data)
    }

    fn loss(
        &self,
        heads: &[Tensor],
        targets: &Tensor,
        teacher: Option<&[Tensor]>,
        weights: LossWeights,
    ) -> Result<Tensor, TrainError> {
        let head = only(heads, self)?;
        let loss = cross_entropy(head, targets)?;
        let Some(teacher) = teacher else {
            return Ok(loss);
        };
        let (own, teacher) = (by_position(head, 1)?, by_position(only(teacher, self)?, 1)?);
        let distilled = distillation(&own, &teacher, weights.distil.temperature)?;
        Ok(weights.mixed(&loss, &distilled)?)
    }

    fn rows(&self, heads: &[Tensor]) -> Result<Tensor, TrainError> {
        let head = only(heads, self)?;
        Ok(head.f_to_kind(Kind::Float)?.f_flatten(1, -1)?)
    }

    fn tally(&self) -> Box<dyn Tally> {
        Box::new(Confusion {
            of: self.clone(),
            pixels: vec![0.0; self.classes * self.classes],
            loss: 0.0,
            total: 0,
        })
    }
}

/// Pixels by their true and their given class.
struct Confusion {
    of: Segmentation,
    pixels: Vec<f64>,
    loss: f64,
    total: usize,
}

impl Tally for Confusion {
    fn add(
        &mut self,
        heads: &[Tensor],
        targets: &Tensor,
        _: Option<&[Tensor]>,
    ) -> Result<(), TrainError> {
        let head = only(heads, &self.of)?;
        let rows = count(head);
        self.loss += cross_entropy(head, targets)?.f_double_value(&[])? * rows as f64;
        self.total += rows;
        let classes = self.of.classes as i64;
        let truth = classes_of(targets, head)?.f_flatten(0, -1)?;
        let given = head.f_argmax(1, false)?.f_flatten(0, -1)?;
        let counts = truth.f_ge(0)?.f_logical_and(&truth.f_lt(classes)?)?;
        let cells = truth.f_mul_scalar(classes)?.f_add(&given)?;
        let cells = cells.f_masked_select(&counts)?;
        let pixels = cells.f_bincount(None::<&Tensor>, classes * classes)?;
        let pixels = pixels
            .f_to_kind(Kind::Double)?
            .f_to_device(tch::Device::Cpu)?;
        let pixels: Vec<f64> = Vec::try_from(&pixels)?;
        let all = self.pixels.iter_mut().zip(pixels);
        all.for_each(|(sum, of)| *sum += of);
        Ok(())
    }

    fn sums(&self) -> Vec<f64> {
        [&[self.total as f64, self.loss], &self.pixels[..]].concat()
    }

    fn take(&mut self, sums: &[f64]) {
        if let [total, loss, pixels @ ..] = sums {
            (self.total, self.loss) = (*total as usize, *loss);
            self.pixels = pixels.to_vec();
        }
    }

    fn score(&self) -> Score {
        let classes = self.of.classes;
        let row = |class: usize| {
            self.pixels[class * classes..][..classes]
                .iter()
                .sum::<f64>()
        };
        let column = |class: usize| {
            (0..classes)
                .map(|i| self.pixels[i * classes + class])
                .sum::<f64>()
        };
        let hit = |class: usize| self.pixels[class * classes + class];
        // Classes that neither occur nor are given say nothing.
        let shares: Vec<f64> = (0..classes)
            .filter_map(|class| {
                let union = row(class) + column(class) - hit(class);
                (union > 0.0).then(|| hit(class) / union)
            })
            .collect();
        let pixels: f64 = self.pixels.iter().sum();
        let hits: f64 = (0..classes).map(hit).sum();
        Score {
            value: shares.iter().sum::<f64>() / shares.len().max(1) as f64,
            total: self.total,
            loss: self.loss / self.total.max(1) as f64,
            divergence: None,
            figures: vec![Figure {
                name: "pixel accuracy".into(),
                value: hits / pixels.max(1.0),
            }],
        }
    }
}
