"""What a corpus is like: measures, leakage, baselines, and the report that shows them."""
