"""A corpus from a shop's own search logs."""
