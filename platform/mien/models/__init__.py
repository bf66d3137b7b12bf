"""Networks whose parameters learn."""
