//! The operators that are read as those that they are made of, in their usual forms.

/// Names by domain; the modules with the forms are beside this one.
static COMPOSED: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "Attention",
            "ConcatFromSequence",
            "GroupNormalization",
            "Max",
            "Mean",
            "Min",
            "Optional",
            "OptionalGetElement",
            "OptionalHasElement",
            "QLinearConv",
            "QLinearMatMul",
            "SequenceAt",
            "SequenceConstruct",
            "SequenceEmpty",
            "SequenceErase",
            "SequenceInsert",
            "SequenceLength",
            "SplitToSequence",
            "Sum",
        ],
    ),
    (
        "com.microsoft",
        &[
            "Attention",
            "BiasDropout",
            "BiasGelu",
            "FastGelu",
            "FusedConv",
            "FusedGemm",
            "Gelu",
            "MultiHeadAttention",
            "QGemm",
            "QLinearAdd",
            "QLinearAveragePool",
            "QLinearConcat",
            "QLinearGlobalAveragePool",
            "QLinearLeakyRelu",
            "QLinearMul",
            "QLinearSigmoid",
            "QLinearSoftmax",
            "QuickGelu",
            "SkipLayerNormalization",
            "SkipSimplifiedLayerNormalization",
        ],
    ),
];

/// Returns domain and name of the operators that are read, in their usual forms, as the operators
/// that they are made of.
pub fn composed_operators() -> impl Iterator<Item = (&'static str, &'static str)> {
    let each = |(domain, names): &(&'static str, &'static [&'static str])| {
        let domain = *domain;
        names.iter().map(move |name| (domain, *name))
    };
    COMPOSED.iter().flat_map(each)
}
