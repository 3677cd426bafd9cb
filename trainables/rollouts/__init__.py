"""How completions are generated: one engine for evaluation, and one of three for training."""
