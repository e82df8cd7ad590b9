"""Networks, their weights and their input: one path for training, validation and prediction."""
