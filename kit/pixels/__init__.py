"""From image files to normalised batches: packed pixels, their statistics, samples, augmentation, batches."""
