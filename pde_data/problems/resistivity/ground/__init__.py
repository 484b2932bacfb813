"""The ground without the body: potentials of currents in a half-space, alone or below a layer."""
