"""What single neurons remember: activations, recurrent weights, gradients over time (P18 Figures 3, 4; P19 Figure 5)."""
