"""On one CPU core."""
