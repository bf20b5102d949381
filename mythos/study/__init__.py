"""Whether depth means something: models trained on tasks of known difficulty, over seeds, and what their loops do."""
