"""When in a video to look."""
