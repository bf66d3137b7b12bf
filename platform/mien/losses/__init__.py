"""What a prediction is compared by, and how much each comparison weighs at a step."""
