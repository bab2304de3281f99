//! Windows that slide over the positions, and changes of their number.

use onnx_graph::{AttributeValue, TensorData, ValueId};
use rand::RngExt;

use super::draw::Row;
use super::net::{Net, float, int, ints, opaque, text};

pub static WINDOWS: &[Row] = &[
    (&["AveragePool", "LpPool", "MaxPool"], 9..=99, Net::pool),
    (
        &["GlobalAveragePool", "GlobalMaxPool"],
        9..=99,
        Net::scale_by_pool,
    ),
    (&["GlobalLpPool"], 9..=21, Net::scale_by_pool),
    // One operator set of six has it, so that it is drawn as often as three others.
    (&["Upsample", "Upsample", "Upsample"], 9..=9, Net::upsample),
    (&["Resize"], 17..=99, Net::resize),
    (&["SpaceToDepth"], 9..=99, Net::space_to_depth),
    (&["DepthToSpace"], 17..=99, Net::depth_to_space),
    (&["ConvTranspose"], 9..=99, Net::convolve_transposed),
    (&["Conv"], 9..=99, Net::convolve_shared),
    (&["GridSample"], 20..=99, Net::sample),
    (&["com.microsoft.GridSample"], 17..=99, Net::sample),
    (&["MaxRoiPool"], 9..=21, Net::pool_regions),
    (&["RoiAlign"], 17..=21, Net::pool_regions),
    (&["DeformConv"], 19..=99, Net::convolve_deformed),
    (&["BatchNormalization"], 9..=99, Net::normalise_batch),
    (&["InstanceNormalization"], 9..=99, Net::normalise_instances),
    (&["GroupNormalization"], 18..=99, Net::normalise_grouped),
];

/// A square window of 2 positions.
fn halving() -> [(&'static str, AttributeValue); 2] {
    [("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))]
}

impl Net {
    fn pool(&mut self, name: &str) {
        if self.side <= 2 {
            return self.convolve();
        }
        self.x = self.node(name, &halving(), &[self.x]);
        self.side /= 2;
    }

    fn scale_by_pool(&mut self, name: &str) {
        let scale = self.node(name, &[], &[self.x]);
        let scale = self.node("Tanh", &[], &[scale]);
        self.x = self.node("Mul", &[], &[self.x, scale]);
    }

    fn upsample(&mut self, name: &str) {
        if self.side > 8 {
            return self.convolve();
        }
        let scales = self.constant(&[4], TensorData::F32(vec![1.0, 1.0, 2.0, 2.0]));
        let x = self.node(name, &[("mode", text("nearest"))], &[self.x, scales]);
        self.x = self.state(x, &[self.channels, 2 * self.side, 2 * self.side]);
        self.side *= 2;
    }

    /// By factors or to sizes, which leave the batch and the channels as they are.
    fn resize(&mut self, name: &str) {
        let side = self.rng.random_range(2..=8);
        let mode = if self.rng.random_bool(0.5) {
            "nearest"
        } else {
            "linear"
        };
        let share = side as f32 / self.side as f32;
        let scales = self.constant(&[4], TensorData::F32(vec![1.0, 1.0, share, share]));
        // 3 of 8 positions by a factor are 2.999 of them for some floats, of one width or both.
        let exact = (self.side as f32 * share) as usize == side
            && (self.side as f64 * f64::from(share)) as usize == side;
        if !exact {
            return self.convolve();
        }
        let coordinates = match mode {
            "nearest" => "asymmetric",
            _ => "half_pixel",
        };
        let coordinates = ("coordinate_transformation_mode", text(coordinates));
        let attributes = [("mode", text(mode)), coordinates];
        let inputs = [Some(self.x), None, Some(scales)];
        let op = opaque(name, &attributes);
        let made = self.node_of(op, &inputs, &[true]);
        self.x = made[0].unwrap();
        self.side = side;
    }

    fn space_to_depth(&mut self, name: &str) {
        if self.channels > 8 || !self.side.is_multiple_of(2) || self.side < 4 {
            return self.convolve();
        }
        self.x = self.node(name, &[("blocksize", int(2))], &[self.x]);
        (self.channels, self.side) = (4 * self.channels, self.side / 2);
    }

    fn depth_to_space(&mut self, name: &str) {
        let stride = if self.side >= 8 { 2 } else { 1 };
        self.x = self.conv(self.x, self.channels, 8, 1, stride);
        (self.channels, self.side) = (8, self.side / stride);
        let mode = if self.rng.random_bool(0.5) {
            "DCR"
        } else {
            "CRD"
        };
        let attributes = [("blocksize", int(2)), ("mode", text(mode))];
        self.x = self.node(name, &attributes, &[self.x]);
        (self.channels, self.side) = (self.channels / 4, 2 * self.side);
    }

    fn convolve_transposed(&mut self, name: &str) {
        if self.side >= 8 {
            return self.convolve();
        }
        let c = self.channels;
        let group = if c.is_multiple_of(2) {
            self.rng.random_range(1..3)
        } else {
            1
        };
        let to = self.some_channels();
        let w = self.weight(&[c, to / group, 2, 2], -0.4, 0.4);
        let b = self.weight(&[to], -0.5, 0.5);
        let mut attributes = halving().to_vec();
        attributes.push(("group", int(group as i64)));
        self.x = self.node(name, &attributes, &[self.x, w, b]);
        (self.channels, self.side) = (to, 2 * self.side);
    }

    /// Two convolutions by one weight, beside the value.
    fn convolve_shared(&mut self, name: &str) {
        let c = self.channels;
        let w = self.weight(&[c, c, 1, 1], -0.4, 0.4);
        let y = self.node(name, &[], &[self.x, w]);
        let y = self.node("Tanh", &[], &[y]);
        let y = self.node(name, &[], &[y, w]);
        self.x = self.node("Add", &[], &[self.x, y]);
    }

    /// Positions that are computed for each image.
    fn sample(&mut self, name: &str) {
        let grid = self.conv(self.x, self.channels, 2, 1, 1);
        let grid = self.within(grid, 1.0);
        let grid = self.transpose(grid, &[0, 2, 3, 1]);
        let attributes = [("align_corners", int(1)), ("padding_mode", text("border"))];
        let x = self.node(name, &attributes, &[self.x, grid]);
        self.x = self.state(x, &[self.channels, self.side, self.side]);
    }

    /// A region of each of two images.
    fn pool_regions(&mut self, name: &str) {
        let far = self.side as f32 - 1.0;
        let aligns = name == "RoiAlign";
        let mut regions = Vec::new();
        for image in 0..2 {
            if !aligns {
                regions.push(image as f32);
            }
            regions.extend([0.0, 0.0, far, far - 0.5 * image as f32]);
        }
        let regions = self.constant(&[2, regions.len() / 2], TensorData::F32(regions));
        let side = self.side as i64;
        self.x = if aligns {
            let sizes = [("output_height", int(side)), ("output_width", int(side))];
            let images = self.list(&[0, 1]);
            self.node(name, &sizes, &[self.x, regions, images])
        } else {
            let sizes = [("pooled_shape", ints(&[side, side]))];
            self.node(name, &sizes, &[self.x, regions])
        };
    }

    fn convolve_deformed(&mut self, name: &str) {
        let (c, to) = (self.channels, self.some_channels());
        let offsets = self.conv(self.x, c, 18, 1, 1);
        let offsets = self.within(offsets, 0.8);
        let w = self.weight(&[to, c, 3, 3], -0.3, 0.3);
        let b = self.weight(&[to], -0.5, 0.5);
        let attributes = [("kernel_shape", ints(&[3, 3])), ("pads", ints(&[1; 4]))];
        let x = self.node(name, &attributes, &[self.x, w, offsets, b]);
        self.x = self.state(x, &[to, self.side, self.side]);
        self.channels = to;
    }

    fn parameters(&mut self) -> [ValueId; 2] {
        [(0.5, 1.5), (-0.5, 0.5)].map(|(low, high)| self.weight(&[self.channels], low, high))
    }

    fn normalise_batch(&mut self, name: &str) {
        let [scale, bias] = self.parameters();
        let [variance, mean] = self.parameters();
        self.x = self.node(name, &[], &[self.x, scale, bias, mean, variance]);
    }

    fn normalise_instances(&mut self, name: &str) {
        let [scale, bias] = self.parameters();
        let epsilon = [("epsilon", float(1e-2))];
        self.x = self.node(name, &epsilon, &[self.x, scale, bias]);
    }

    /// With a scale and a bias for each group in older operator sets, for each channel in newer
    /// ones.
    fn normalise_grouped(&mut self, name: &str) {
        let groups = if self.channels.is_multiple_of(2) {
            2
        } else {
            1
        };
        let count = if self.graph.opset < 21 {
            groups
        } else {
            self.channels
        };
        let scale = self.weight(&[count], 0.5, 1.5);
        let bias = self.weight(&[count], -0.5, 0.5);
        let attributes = [("num_groups", int(groups as i64)), ("epsilon", float(1e-2))];
        self.x = self.node(name, &attributes, &[self.x, scale, bias]);
    }
}
