"""Distillation of embeddings (Reimers and Gurevych 2020, arXiv 2004.09813): be where the teacher is.

    loss = mean over rows of |student - teacher|^2

The squared distance is summed over the dimensions: it is D times the mean squared error of all D numbers, which is so small
for vectors of unit length (its gradient smaller yet) that Adam's epsilon would weigh in. For those it is 2 - 2 cos, in 0..4.
"""

from torch import Tensor


def distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """student, teacher: (B, D) -> scalar, in fp32. Raises ValueError on shapes that differ: they would broadcast."""
    if student.dim() != 2 or student.shape != teacher.shape:
        raise ValueError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)}: need (B, D) of both"
        )
    return (student.float() - teacher.float()).square().sum(1).mean()
