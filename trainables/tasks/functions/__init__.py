"""TRL reward functions as they stand in a script, over a data set of the user's."""
