"""Moving pictures: what a person looks at to see that the rest works."""
