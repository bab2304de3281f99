"""Packs the programs and the Python package into a wheel.

Usage: wheel.py BIN PACKAGE OUT VERSION TORCH

BIN is a folder of programs, which a wheel's installer puts beside the environment's Python; PACKAGE is the folder
`host/python`; TORCH is the version of libtorch that graphprune-train was linked with. libtorch and ONNX Runtime are not
in the wheel: they come from the wheels of torch and onnxruntime in the same environment.
"""

import base64
import hashlib
import pathlib
import platform
import sys
import zipfile

SUMMARY = "Prune a CNN for one device by latency measured on that device"
# A fixed time: equal contents give equal wheels.
WRITTEN = (2020, 1, 1, 0, 0, 0)


def main(programs, package, out, version, torch):
    tag = f"py3-none-linux_{platform.machine()}"
    major, minor = torch.split(".")[:2]
    about = f"graphprune-{version}.dist-info"
    files = {}
    for program in sorted(pathlib.Path(programs).iterdir()):
        files[f"graphprune-{version}.data/scripts/{program.name}"] = (program.read_bytes(), 0o755)
    package = pathlib.Path(package)
    for source in sorted((package / "graphprune").glob("*.py")):
        files[f"graphprune/{source.name}"] = (source.read_bytes(), 0o644)
    metadata = [
        "Metadata-Version: 2.1",
        "Name: graphprune",
        f"Version: {version}",
        f"Summary: {SUMMARY}",
        "License: MIT OR Apache-2.0",
        "Requires-Python: >=3.10",
        "Requires-Dist: onnxruntime",
        "Provides-Extra: train",
        # C++ interfaces change with each minor version.
        f'Requires-Dist: torch=={major}.{minor}.*; extra == "train"',
        "Description-Content-Type: text/markdown",
        "",
        (package / "README.md").read_text(),
    ]
    wheel = ["Wheel-Version: 1.0", "Generator: graphprune xtask", "Root-Is-Purelib: false", f"Tag: {tag}", ""]
    files[f"{about}/METADATA"] = ("\n".join(metadata).encode(), 0o644)
    files[f"{about}/WHEEL"] = ("\n".join(wheel).encode(), 0o644)
    record = []
    for name, (data, _) in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record.append(f"{name},sha256={digest},{len(data)}")
    record.append(f"{about}/RECORD,,\n")
    files[f"{about}/RECORD"] = ("\n".join(record).encode(), 0o644)
    path = pathlib.Path(out) / f"graphprune-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, (data, mode) in files.items():
            entry = zipfile.ZipInfo(name, WRITTEN)
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, data)
    print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
