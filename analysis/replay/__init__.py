"""Replays other reward weights on recorded completions, without training."""
