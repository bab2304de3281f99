"""Writes preprocessing.json: what Pillow, OpenCV and NumPy make of a photo, for the test of the same name.

python preprocessing.py > preprocessing.json, with pillow 13.0, opencv-python-headless 5.0 and numpy 2.4.
"""

import json

import cv2
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 61, 45
SIDE = 8
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def photo():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    red = (x * x // 13 + 3 * y) % 256
    green = (5 * x + y * y // 9) % 256
    blue = np.where((x // 8 + y // 6) % 2 == 0, 220, 30)
    return Image.fromarray(np.stack([red, green, blue], 2).astype(np.uint8))


def short_side(image, side, how):
    width, height = image.size
    size = (side, side * height // width) if width <= height else (side * width // height, side)
    return image.resize(size, how)


def centre(image):
    """torchvision's CenterCrop."""
    width, height = image.size
    left, top = round((width - SIDE) / 2), round((height - SIDE) / 2)
    return image.crop((left, top, left + SIDE, top + SIDE))


def letterbox(image, pad, how):
    width, height = image.size
    scale = min(SIDE / width, SIDE / height)
    scaled = image.resize((round(width * scale), round(height * scale)), how)
    whole = Image.new("RGB", (SIDE, SIDE), (pad, pad, pad))
    whole.paste(scaled, ((SIDE - scaled.width) // 2, (SIDE - scaled.height) // 2))
    return whole


def values(image, scale=255.0, mean=(0.0,), std=(1.0,), bgr=False):
    array = np.asarray(image, np.float64)
    array = array[:, :, ::-1] if bgr else array
    return ((array / scale - np.array(mean)) / np.array(std)).transpose(2, 0, 1)


def grey(image, channels):
    one = np.asarray(image.convert("L"))
    return Image.fromarray(np.repeat(one[:, :, None], 3, 2)) if channels == 3 else one[:, :, None]


def opencv(how):
    return Image.fromarray(cv2.resize(np.asarray(photo()), (SIDE, SIDE), interpolation=how))


BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
small = centre(short_side(photo(), 11, BILINEAR))
cases = {
    "imagenet": ("resize = 11\npreset = 'imagenet'", 3, values(small, mean=MEAN, std=STD)),
    "caffe": (
        "resize = 11\nscale = 1\nmean = [103.939, 116.779, 123.68]\nstd = [1]\norder = 'bgr'",
        3,
        values(small, scale=1.0, mean=[103.939, 116.779, 123.68], bgr=True),
    ),
    "bicubic": ("resize = 9\ninterpolation = 'bicubic'", 3, values(centre(short_side(photo(), 9, BICUBIC)))),
    "exact": ("resize = '16x10'", 3, values(centre(photo().resize((10, 16), BILINEAR)))),
    "nearest": (
        "resize = 11\ninterpolation = 'nearest'",
        3,
        values(centre(short_side(photo(), 11, Image.Resampling.NEAREST))),
    ),
    "area": ("fit = 'stretch'\ninterpolation = 'area'", 3, values(photo().resize((SIDE, SIDE), Image.Resampling.BOX))),
    "letterbox": ("fit = 'letterbox'", 3, values(letterbox(photo(), 114, BILINEAR))),
    "letterbox in black": ("fit = 'letterbox'\npad = 0\nscale = 1", 3, values(letterbox(photo(), 0, BILINEAR), scale=1.0)),
    "grey in one channel": ("resize = 11\npreset = 'mnist'", 1, values(grey(small, 1), mean=[0.1307], std=[0.3081])),
    "grey in three channels": ("resize = 11\ngrey = true\npreset = 'half'", 3, values(grey(small, 3), mean=[0.5], std=[0.5])),
    "opencv": ("fit = 'stretch'\nantialias = false", 3, values(opencv(cv2.INTER_LINEAR))),
}
print("[")
rows = []
for name, (settings, channels, expected) in cases.items():
    numbers = [round(float(value), 4) for value in expected.ravel()]
    rows.append(json.dumps({"name": name, "settings": settings, "channels": channels, "values": numbers}))
print(",\n".join(rows))
print("]")
