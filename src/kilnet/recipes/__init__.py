"""What comes with Kilnet by name: recipes, and spaces to search; and how such files are read."""
