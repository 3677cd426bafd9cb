"""How completions are generated, in training and in evaluations."""
