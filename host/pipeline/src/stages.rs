//! The stages, one a file.

pub(crate) mod abreast;
pub(crate) mod attempt;
pub(crate) mod calibrate;
pub(crate) mod candidate;
pub(crate) mod compared;
pub(crate) mod confirm;
pub(crate) mod distillation;
pub(crate) mod export;
pub(crate) mod finetune;
pub(crate) mod fisher;
pub(crate) mod importance;
pub(crate) mod kernels;
pub(crate) mod original;
pub(crate) mod precision;
pub(crate) mod repair;
pub(crate) mod scoring;
pub(crate) mod search;
pub(crate) mod select;
pub(crate) mod sensitivity;
pub(crate) mod together;
pub(crate) mod train;
