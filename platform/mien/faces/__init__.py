"""Find faces in frames, follow them over time, cut them out and measure them."""
