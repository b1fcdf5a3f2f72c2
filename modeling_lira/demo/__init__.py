"""`lira demo`: the main job from end to end on a slice of the corpus."""
