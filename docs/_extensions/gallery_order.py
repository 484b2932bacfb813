"""Examples in the order of a reader who comes for the first time; those of no place yet come last, by name."""

ORDER = (
    "plot_cdr.py",
    "plot_resistivity.py",
    "plot_own_pde.py",
    "plot_program.py",
    "plot_data_only.py",
    "plot_few_solves.py",
    "plot_build.py",
    "plot_fields_pyvista.py",
    "plot_distributions.py",
    "plot_sensitivity.py",
    "plot_propagate.py",
    "plot_umbridge_pymc.py",
    "plot_any_network.py",
    "plot_digits.py",
    "plot_segmentation.py",
    "plot_scaling.py",
    # the concepts
    "plot_variable_projection.py",
    "plot_second_order.py",
    "plot_error_bands.py",
)


def place(name: str) -> tuple[int, str]:
    """Where the example of this file name comes."""
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)
