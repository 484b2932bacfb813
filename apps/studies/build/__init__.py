"""Study `build`: what the loop costs beside the fewest solves that would have done, and whether what it confirms is true."""
