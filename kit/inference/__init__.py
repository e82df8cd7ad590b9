"""What trained networks predict: forward passes, test-time augmentation, evaluation."""
