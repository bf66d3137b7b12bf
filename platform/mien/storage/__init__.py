"""A URI in; bytes, a local file or a write-once commit out."""
