"""Studies that train many systems and compare them."""
