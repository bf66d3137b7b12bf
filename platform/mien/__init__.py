"""mien: face video in a bucket into datasets, trained models and the figures that explain them."""

__version__ = "0.1.0"
