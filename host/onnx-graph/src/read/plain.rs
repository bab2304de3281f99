//! The operators of a file that are read as other ones.

use super::rewrite::Rewrite;
use super::{contrib, fused, joins, qlinear};
use crate::proto::GraphProto;

/// Replaces the nodes of a graph that are read as others; `opsets` has the operator set of each
/// node.
pub(super) fn plain_operators(graph: &mut GraphProto, opsets: &mut Vec<i64>) {
    Rewrite::run(graph, opsets, qlinear::is, qlinear::expand);
    Rewrite::run(graph, opsets, joins::is, joins::expand);
    Rewrite::run(graph, opsets, contrib::is, contrib::expand);
    Rewrite::run(graph, opsets, fused::is, fused::expand);
}
