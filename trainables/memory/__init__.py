"""How much memory a trial takes: guessed, measured, kept for later, and kept within its share."""
