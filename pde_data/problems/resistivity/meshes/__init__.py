"""Reference meshes that follow the body, shipped with the package, and their planes along a layer."""
