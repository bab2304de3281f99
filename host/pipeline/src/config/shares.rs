//! The settings of a configuration that are shares.

use latency::{ShareKey, ShareOf};

/// Every setting that is a share, but for the budget of latency, which can be a time as well.
pub(super) const KEYS: &[ShareKey] = &[
    share("budget.macs", ShareOf::Budget),
    share("widths.min_keep", ShareOf::Part),
    share("joint.full_share", ShareOf::Fraction),
    share("joint.label_smoothing", ShareOf::Margin),
    share("joint.distil.share", ShareOf::Fraction),
    share("joint.draw.removal", ShareOf::Fraction),
    share("finetune.label_smoothing", ShareOf::Margin),
    share("finetune.distil.share", ShareOf::Fraction),
    share("knowledge.sure", ShareOf::Change),
    share("knowledge.screen.margin", ShareOf::Margin),
    share("knowledge.screen.unsure", ShareOf::Change),
    share("result.confirm_margin", ShareOf::Margin),
];

const fn share(key: &'static str, of: ShareOf) -> ShareKey {
    ShareKey { key, of }
}
