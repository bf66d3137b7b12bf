"""Bring files from elsewhere below an output: what a cluster starts for `mien ingest`."""

import sys

from mien.cli import main

main(["ingest", *sys.argv[1:]])
