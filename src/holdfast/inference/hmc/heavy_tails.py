"""Heavy tails: a Student-t prior on top of coordinates whitened for a normal one.

    U_t(z) = U(z) + 1/T sum_j (nu + 1) / 2 log(1 + T z_j^2 / (nu - 2)) - |z|^2 / 2

with z = w / (s sqrt T), s the prior deviation of the weight: the trajectory's exact rotation stays that of the normal
prior, and the difference of the two log densities goes into the kicks.
"""

from torch import Tensor

from holdfast.inference.hmc.kernel import Potential


class HeavyTails:
    """A potential whose prior is t-distributed with `degrees` degrees of freedom and unit variance.

    Args:
        likelihood: the potential under the normal prior.
        degrees: nu, above 2.
        temperature: of the posterior.
    """

    def __init__(self, likelihood: Potential, degrees: float, temperature: float = 1.0) -> None:
        self.likelihood, self.degrees, self.temperature = likelihood, degrees, temperature

    def nll(self, z: Tensor) -> Tensor:
        """`[K]`, float64, the difference of the priors included."""
        squares = z.double().square()
        tails = (squares * (self.temperature / (self.degrees - 2))).log1p().sum(1)
        tails *= 0.5 * (self.degrees + 1) / self.temperature
        return self.likelihood.nll(z) + tails - 0.5 * squares.sum(1)

    def gradient(self, z: Tensor) -> Tensor:
        """`[K, d]`."""
        tails = (self.degrees + 1) * z / (self.degrees - 2 + self.temperature * z.square())
        return self.likelihood.gradient(z) + tails - z

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Both."""
        return self.nll(z), self.gradient(z)
