"""Two-stage training over cached streams of the frozen backbones."""
