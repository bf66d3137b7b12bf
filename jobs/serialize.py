"""Turn videos into a dataset: what a cluster starts for `mien serialize`."""

import sys

from mien.cli import main

main(["serialize", *sys.argv[1:]])
