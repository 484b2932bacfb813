"""What is done with surrogates: commands, comparison, trust, inversion, segmentation, serving, reports, studies."""
