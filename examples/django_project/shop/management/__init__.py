"""A part of the example."""
