//! The operators without a typed form whose shapes, element types and work are known, by domain.

mod microsoft;
mod onnx;

use super::signature::{Row, Signature};

/// The tables by domain.
static DOMAINS: [(&str, &[Row]); 2] = [("", onnx::ROWS), ("com.microsoft", microsoft::ROWS)];

/// Finds the signature of an operator.
pub(super) fn find(domain: &str, name: &str) -> Option<&'static Signature> {
    let (_, table) = DOMAINS.iter().find(|(known, _)| *known == domain)?;
    let row = table.iter().find(|(names, _)| names.contains(&name))?;
    Some(&row.1)
}

/// All operators of the tables: domain, name and signature.
pub(crate) fn rows() -> impl Iterator<Item = (&'static str, &'static str, &'static Signature)> {
    DOMAINS.iter().flat_map(|(domain, table)| {
        table.iter().flat_map(move |(names, signature)| {
            names.iter().map(move |name| (*domain, *name, signature))
        })
    })
}
