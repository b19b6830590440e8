"""Packages that a script needs, in a virtual environment that `scripts/python-with` makes under the user's cache folder."""

import os
import pathlib
import subprocess
import sys

PYTHON_WITH = pathlib.Path(__file__).resolve().parent.parent.parent / "scripts" / "python-with"


def run_with(name, packages, otherwise=sys.exit):
    """Returns where the running Python has the packages; else runs the script again with one that has them. Where they cannot be had,
    `otherwise` is told in one sentence."""
    if os.environ.get("POINTILLIST_PEERS") == name:
        return
    found = subprocess.run([PYTHON_WITH, name, *packages], capture_output=True, text=True)
    if found.returncode != 0:
        otherwise(f"{' '.join(packages)} cannot be installed: {found.stderr.strip()}")
    python = found.stdout.strip()
    os.environ["POINTILLIST_PEERS"] = name
    os.execv(python, [python, *sys.argv])


def skip(why):
    """For checks of the tests: says why and passes."""
    print(f"SKIPPED: {why}")
    sys.exit(0)
