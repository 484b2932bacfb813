"""One study per result of the method: `gnvpro study NAME` prints a table and writes figures and numbers."""

# Where each study's `run` is, imported when it is asked for.
STUDIES = {
    "cdr": "apps.studies.cdr",
    "dcr": "apps.studies.dcr",
    "indian-pines": "apps.studies.indian_pines",
    "ellipse": "apps.studies.ellipse",
    "scaling": "apps.studies.scaling",
    "ablation": "apps.studies.ablation",
    "coverage": "apps.studies.coverage",
    "invert-dcr": "apps.studies.invert_dcr",
    "invert-cdr": "apps.studies.invert_cdr",
}
