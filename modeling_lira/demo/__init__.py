"""`lira demo`: train, evaluate, save, load and search with LiRA on a slice of the corpus."""
