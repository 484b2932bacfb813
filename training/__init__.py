"""Second-order training of separable networks on the reduced problem."""
