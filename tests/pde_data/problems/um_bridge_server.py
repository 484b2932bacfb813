"""A UM-Bridge server of its own client library, to be started: two models, on the port that is given."""

import math
import sys

import umbridge


class Leveled(umbridge.Model):
    """c = (a b, sin a) (1 + 1 / fidelity): NaN where a > 1.8, no value where a > 1.9."""

    def __init__(self):
        super().__init__("leveled")

    def get_input_sizes(self, config):
        return [2]

    def get_output_sizes(self, config):
        return [2]

    def __call__(self, parameters, config):
        a, b = parameters[0]
        if a > 1.9:
            raise ArithmeticError("diverged")
        scale = 1 + 1 / config.get("fidelity", 4)
        return [[scale * a * b, math.nan if a > 1.8 else scale * math.sin(a)]]

    def apply_jacobian(self, out_wrt, in_wrt, parameters, vec, config):
        (a, b), (da, db), scale = parameters[0], vec, 1 + 1 / config.get("fidelity", 4)
        return [scale * (a * db + b * da), scale * math.cos(a) * da]

    def supports_evaluate(self):
        return True

    def supports_apply_jacobian(self):
        return True


class Plain(Leveled):
    """The same without derivatives."""

    def __init__(self):
        super().__init__()
        self.name = "plain"

    def supports_apply_jacobian(self):
        return False


if __name__ == "__main__":
    umbridge.serve_models([Leveled(), Plain()], int(sys.argv[1]))
