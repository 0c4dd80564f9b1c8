"""What single neurons remember: activations, u, gradients over time (P18 Figures 3 and 4, P19 Figure 5, Table 1)."""
