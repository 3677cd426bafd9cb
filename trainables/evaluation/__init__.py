"""Measuring a model on a suite, and the keys that say which results may be compared."""
