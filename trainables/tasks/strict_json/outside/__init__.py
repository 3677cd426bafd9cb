"""Suites of real-world schemas from an installed package or the Hugging Face hub.

``strictune evaluate --suite NAME`` or ``NAME:PART`` evaluates a model on them. Their prompts show
the schema, because there are no instructions that state everything that these schemas ask for.
"""
