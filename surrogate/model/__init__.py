"""The trained model: what it computes, and the folder it is saved in."""
