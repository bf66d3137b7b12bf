"""Sweeps: what is searched, what was found, and which of it is to be trusted."""
