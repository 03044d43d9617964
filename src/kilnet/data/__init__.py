"""Images and labels: where they come from, and what is done to them before a network sees them."""
