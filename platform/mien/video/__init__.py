"""Containers to frames and samples with their time stamps, and back; through PyAV, within limits."""
