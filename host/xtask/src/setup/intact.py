"""Prints each `name==version` among the arguments that is not completely installed.

A package is complete if all files in its RECORD exist with their recorded sizes; pip writes RECORD last.
"""

import csv
import sys
from importlib import metadata


def complete(name, version):
    try:
        package = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    record = package.read_text("RECORD")
    # A wheel's version may carry a local part such as "+cu130".
    if package.version.split("+")[0] != version or not record:
        return False
    for path, _, size in csv.reader(record.splitlines()):
        if not size:
            continue  # RECORD itself and compiled files
        try:
            if package.locate_file(path).stat().st_size != int(size):
                return False
        except OSError:
            return False
    return True


for pin in sys.argv[1:]:
    if not complete(*pin.split("==")):
        print(pin)
