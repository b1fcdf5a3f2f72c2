"""`python -m modeling_lira.cli`, as `torchrun` starts it."""

from .lira import main

main()
