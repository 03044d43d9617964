"""A network asked about images: one pass, several views, layers joined, the classifier with its preprocessing."""
