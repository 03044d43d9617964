"""Picture files, format by format: the parts that the pixels depend on, and what decoding them costs."""
