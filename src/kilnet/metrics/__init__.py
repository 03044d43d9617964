"""How good a classifier is: counts first, every ratio from the counts."""
