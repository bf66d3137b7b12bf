"""Measure a trained model: what a cluster starts for `mien evaluate`."""

import sys

from mien.cli import main

main(["evaluate", *sys.argv[1:]])
