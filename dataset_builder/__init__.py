"""The product retrieval corpus: authored lexicon, deterministic generator, published layout."""
