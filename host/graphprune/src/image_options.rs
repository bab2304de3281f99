//! Options of how images become a network's input.

use clap::Args;
use pipeline::{ChannelOrder, Fit, Interpolation, Preprocessing, Preset, Resize};

/// The part of the help that lists them.
const HEADING: &str = "Images";

/// How images become the network's input.
#[derive(Debug, Default, Args)]
pub struct ImageOptions {
    /// Normalisation: cifar10, imagenet, mnist, half, unit, none255 (default: that of the data
    /// set). A value of the input is (byte / scale - mean) / std
    #[arg(long, help_heading = HEADING, value_name = "PRESET")]
    normalise: Option<Preset>,
    /// Divisor of bytes (default: the normalisation's)
    #[arg(long, help_heading = HEADING, value_name = "NUMBER")]
    scale: Option<f64>,
    /// Means of the channels in the network's order (0.485,0.456,0.406), or one for all
    /// (default: the normalisation's)
    #[arg(
        long,
        help_heading = HEADING,
        value_name = "MEANS",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    mean: Vec<f64>,
    /// Standard deviations of the channels, likewise (default: the normalisation's)
    #[arg(
        long,
        help_heading = HEADING,
        value_name = "DEVIATIONS",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    std: Vec<f64>,
    /// Order of the network's channels
    #[arg(long, help_heading = HEADING, value_name = "rgb|bgr")]
    channel_order: Option<ChannelOrder>,
    /// Make colours grey, in all channels of the network
    #[arg(long, help_heading = HEADING)]
    grey: bool,
    /// Scale images before their centre is cut out: the shorter side (256), or height x width
    /// (256x320). Default: images cover the input, those of class folders 8/7 of it
    #[arg(long, help_heading = HEADING, value_name = "SIZE")]
    resize: Option<Resize>,
    /// How an image fills the input: its centre is cut out, the whole image is padded, or its sides
    /// are scaled to the input's
    #[arg(long, help_heading = HEADING, value_name = "crop|letterbox|stretch")]
    fit: Option<Fit>,
    /// Value of pixels that the image does not cover, 0 to 255
    #[arg(long, help_heading = HEADING, value_name = "BYTE")]
    pad: Option<u8>,
    /// How images are scaled: nearest, bilinear, bicubic, area
    #[arg(long, help_heading = HEADING, value_name = "FILTER")]
    interpolation: Option<Interpolation>,
    /// Scale down as OpenCV does, without a wider filter
    #[arg(long, help_heading = HEADING)]
    no_antialias: bool,
}

impl ImageOptions {
    /// The options given, by name.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, bool)> {
        [
            ("--normalise", self.normalise.is_some()),
            ("--scale", self.scale.is_some()),
            ("--mean", !self.mean.is_empty()),
            ("--std", !self.std.is_empty()),
            ("--channel-order", self.channel_order.is_some()),
            ("--grey", self.grey),
            ("--resize", self.resize.is_some()),
            ("--fit", self.fit.is_some()),
            ("--pad", self.pad.is_some()),
            ("--interpolation", self.interpolation.is_some()),
            ("--no-antialias", self.no_antialias),
        ]
        .into_iter()
    }

    /// Overrides the settings that are given.
    pub fn apply(&self, input: &mut Preprocessing) {
        let values = |given: &Vec<f64>| (!given.is_empty()).then(|| given.clone());
        input.preset = self.normalise.or(input.preset);
        input.scale = self.scale.or(input.scale);
        input.mean = values(&self.mean).or(input.mean.take());
        input.std = values(&self.std).or(input.std.take());
        input.order = self.channel_order.unwrap_or(input.order);
        input.grey |= self.grey;
        input.resize = self.resize.or(input.resize);
        input.fit = self.fit.unwrap_or(input.fit);
        input.pad = self.pad.unwrap_or(input.pad);
        input.interpolation = self.interpolation.unwrap_or(input.interpolation);
        input.antialias &= !self.no_antialias;
    }

    /// The settings that they make.
    pub fn preprocessing(&self) -> Preprocessing {
        let mut input = Preprocessing::default();
        self.apply(&mut input);
        input
    }

    /// The first option that is given.
    pub fn first(&self) -> Option<&'static str> {
        self.given().find_map(|(name, given)| given.then_some(name))
    }
}
