"""What the package shows: names imported when they are used, missing extras in words, texts safe for a terminal."""
