"""The page with sliders, and what it asks of the server."""
