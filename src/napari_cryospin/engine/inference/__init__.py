"""Ways to get a pose: amortized (encoder), direct (SGD), the exact posterior on a grid."""
