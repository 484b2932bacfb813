"""The report of an inversion: tables, figures, and the page that holds them."""
