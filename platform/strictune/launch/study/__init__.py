"""Optuna studies inside the cells of a sweep: what to try next, and what it came to."""
