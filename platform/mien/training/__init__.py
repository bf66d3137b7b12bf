"""Training on Ray Train: one run, from its first step or its last checkpoint, on any number of workers."""
