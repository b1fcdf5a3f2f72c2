"""A Hub server of our own over real HTTP, and what is tested against it."""
