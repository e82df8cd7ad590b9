"""How probabilities become predicted classes: thresholds, class weights, and their tuning."""
