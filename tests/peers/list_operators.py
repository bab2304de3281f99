"""Lists the operators of ONNX's own domain, one a line: name, and the operator sets that introduced or changed it.

    python list_operators.py NEWEST

Later operator sets than NEWEST are left out, and so are functions of training and operators that were only ever experimental.
"""

import sys

import onnx.defs


def main():
    newest = int(sys.argv[1])
    versions = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.since_version <= newest:
            versions.setdefault(schema.name, set()).add(schema.since_version)
    for name, sets in sorted(versions.items()):
        print(name, *sorted(sets))


if __name__ == "__main__":
    main()
