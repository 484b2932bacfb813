"""One study per result of the method: `gnvpro study NAME` prints a table and writes figures and numbers."""

# Where each study's `run` is, imported when it is asked for.
STUDIES = {
    "cdr": "gnvpro.apps.studies.cdr",
    "dcr": "gnvpro.apps.studies.dcr",
    "indian-pines": "gnvpro.apps.studies.indian_pines",
    "ellipse": "gnvpro.apps.studies.ellipse.ellipse",
    "scaling": "gnvpro.apps.studies.scaling.scaling",
    "ablation": "gnvpro.apps.studies.ablation.ablation",
    "coverage": "gnvpro.apps.studies.coverage",
    "invert-dcr": "gnvpro.apps.studies.inversion.invert_dcr",
    "invert-cdr": "gnvpro.apps.studies.inversion.invert_cdr",
}
