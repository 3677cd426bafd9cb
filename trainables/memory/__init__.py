"""The memory of a trial: estimated, measured, and limited to its share of a GPU."""
