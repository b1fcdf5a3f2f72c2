"""The synthetic product catalogue, its queries and their grades, written from the lexicon."""
