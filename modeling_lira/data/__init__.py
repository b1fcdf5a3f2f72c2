"""Corpora and questions as tables of streams or token ids."""
