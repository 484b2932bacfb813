"""A UM-Bridge server of its own client library, to be started: three models, on the port that is given."""

import math
import sys
import time

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


class Blocks(umbridge.Model):
    """Vectors (a, b) and (c,) to (a c,) and (a b, b c), with both kinds of derivatives; waits where c > 5."""

    def __init__(self):
        super().__init__("blocks")

    def get_input_sizes(self, config):
        return [2, 1]

    def get_output_sizes(self, config):
        return [1, 2]

    def __call__(self, parameters, config):
        (a, b), (c,) = parameters
        if c > 5:
            time.sleep(3)
        return [[a * c], [a * b, b * c]]

    def block(self, out_wrt, in_wrt, parameters):
        (a, b), (c,) = parameters
        jacobian = [[c, 0, a], [b, a, 0], [0, c, b]]
        rows, columns = ([0], [1, 2])[out_wrt], ([0, 1], [2])[in_wrt]
        return [[jacobian[i][j] for j in columns] for i in rows]

    def apply_jacobian(self, out_wrt, in_wrt, parameters, vec, config):
        return [sum(e * v for e, v in zip(row, vec, strict=True)) for row in self.block(out_wrt, in_wrt, parameters)]

    def gradient(self, out_wrt, in_wrt, parameters, sens, config):
        return [
            sum(e * s for e, s in zip(column, sens, strict=True))
            for column in zip(*self.block(out_wrt, in_wrt, parameters), strict=True)
        ]

    def supports_evaluate(self):
        return True

    def supports_apply_jacobian(self):
        return True

    def supports_gradient(self):
        return True


if __name__ == "__main__":
    umbridge.serve_models([Leveled(), Plain(), Blocks()], int(sys.argv[1]))
