"""One model on test data: the corpus, texts unlike it, MTEB, speed and the index."""
