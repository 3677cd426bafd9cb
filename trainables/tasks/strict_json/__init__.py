"""The strict_json task: one fenced JSON document that conforms to a schema."""
