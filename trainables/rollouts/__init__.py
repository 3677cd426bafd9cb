"""How completions are generated outside the trainer: one module per engine."""
