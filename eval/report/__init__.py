"""Records as pages: the report, the README's blocks, and the command that runs everything."""
