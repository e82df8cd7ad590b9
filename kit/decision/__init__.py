"""How probabilities become answers: thresholds, class weights, and what tunes them."""
