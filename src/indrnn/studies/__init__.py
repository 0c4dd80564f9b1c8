"""What looks into networks: single neurons, ablations, gradients, where u starts."""
