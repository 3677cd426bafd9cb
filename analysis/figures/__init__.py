"""Figures: each one function that takes a table and returns a figure.

A figure is an altair chart; ``theme`` makes pictures of it, or what a page draws. The
tables come from ``analysis.report``, and a figure knows nothing of sweeps, files or tasks.
Importing its modules takes altair with it, so callers import them where they need them.
"""
