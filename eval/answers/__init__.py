"""How well a language model answers questions, with LiRA in front of it and without."""
