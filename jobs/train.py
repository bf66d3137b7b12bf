"""Train a model: what a cluster starts for `mien train`."""

import sys

from mien.cli import main

main(["train", *sys.argv[1:]])
