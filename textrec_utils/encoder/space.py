"""The shape of a cloud of vectors: its centre, its directions, how narrow it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def center(vectors: np.ndarray) -> np.ndarray:
    """Subtract the mean vector: takes away the direction that all texts share."""
    return vectors - vectors.mean(axis=0, keepdims=True)


def principal_directions(products: np.ndarray, dim: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The `dim` strongest directions of centred rows x, from products = xᵀx or their covariance (width, width).

    Returns eigenvalues (dim,), the largest first, and directions as columns (width, dim), both float64. An
    eigenvector's sign is arbitrary and may change with the machine; here its largest entry is positive.
    """
    value, basis = np.linalg.eigh(products.astype(np.float64))
    value, basis = value[::-1][:dim], basis[:, ::-1][:, :dim]
    return value, basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])])


@dataclass(frozen=True)
class Whitening:
    """Whitening (Su et al. 2021) as the linear map that it is: x -> (x − mean) @ basis.

    mean: (width,), basis: (width, dim), both float64.
    """

    mean: np.ndarray
    basis: np.ndarray

    @classmethod
    def fit(cls, vectors: np.ndarray, dim: int | None = None, strength: float = 1.0) -> Whitening:
        """The map after which `vectors` have mean 0 and covariance I, the `dim` strongest directions kept.

        strength: 1 equalises all directions, 0 only rotates and centres, between is partial.
        """
        mean = vectors.astype(np.float64).mean(axis=0)
        centred = vectors - mean
        value, basis = principal_directions(centred.T @ centred / len(centred), dim)
        return cls(mean, basis * np.maximum(value, 1e-9) ** (-strength / 2))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(texts, dim) float32: other vectors of the same kind, by the same map."""
        return ((vectors - self.mean) @ self.basis).astype(np.float32)


def whiten(vectors: np.ndarray, dim: int | None = None, strength: float = 1.0) -> np.ndarray:
    """`vectors` by their own `Whitening`: mean 0, covariance I (strength 1). Returns (texts, dim) float32."""
    return Whitening.fit(vectors, dim, strength)(vectors)


def mean_cosine(vectors: np.ndarray) -> float:
    """Mean cosine over all pairs of different texts: 0 for an even cloud, near 1 for a narrow cone."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    n = len(unit)
    total = unit.sum(axis=0, dtype=np.float64)
    return float((total @ total - n) / (n * (n - 1)))
