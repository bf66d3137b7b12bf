"""Noise processes; they have no parameters."""
