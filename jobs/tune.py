"""Search the keys of a training: what a cluster starts for `mien tune`."""

import sys

from mien.cli import main

main(["tune", *sys.argv[1:]])
