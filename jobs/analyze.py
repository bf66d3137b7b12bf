"""Draw figures and write the numbers behind them: what a cluster starts for `mien analyze`."""

import sys

from mien.cli import main

main(["analyze", *sys.argv[1:]])
