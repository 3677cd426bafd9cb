"""Audits recorded completions of other runs: criteria, verdicts, leakage, signs."""
