import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from cosmogan.gan import losses


def test_losses_are_cross_entropies_with_hard_labels():
    torch.manual_seed(0)
    real, fake = 5 * torch.randn(2, 16)
    expected = cross_entropy(real, torch.ones(16)) + cross_entropy(fake, torch.zeros(16))
    torch.testing.assert_close(losses.discriminator_loss(real, fake), expected)
    torch.testing.assert_close(losses.generator_loss(fake), cross_entropy(fake, torch.ones(16)))


def test_a_confident_discriminator_still_teaches_the_generator():
    logit = torch.tensor([-50.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(losses.generator_loss(logit), logit)
    assert gradient.item() == -1.0


def test_the_penalty_of_a_linear_critic_is_known():
    """|grad f| = 2 sqrt(27) everywhere, wherever between real and fake it is taken; and its slope pulls it to 1."""
    real, fake = torch.rand(2, 3, 1, 3, 3, 3)
    slope = torch.tensor(2.0, requires_grad=True)
    penalty = losses.gradient_penalty(lambda x: slope * x.sum(dim=(1, 2, 3, 4)), real, fake, torch.rand(3))
    assert penalty.item() == pytest.approx((2 * 27**0.5 - 1) ** 2)
    penalty.backward()
    assert slope.grad.item() == pytest.approx(2 * (2 * 27**0.5 - 1) * 27**0.5)


def test_the_penalty_is_of_points_between_real_and_fake():
    """f = x²/2 has its gradient at x itself: |x| - 1 = 2 at 3, between 1 and 5."""
    one = torch.ones(1, 1, 1, 1, 1)
    penalty = losses.gradient_penalty(lambda x: x**2 / 2, one, 5 * one, torch.tensor([0.5]))
    assert penalty.item() == 4
    assert losses.gradient_penalty(lambda x: x**2 / 2, one, 5 * one, torch.tensor([1.0])).item() == 0  # 1: at the real


def test_wasserstein_losses_have_the_signs_of_a_distance():
    real, fake = torch.tensor([3.0, 5.0]), torch.tensor([1.0])
    assert losses.critic_loss(real, fake).item() == -3 and losses.critic_generator_loss(fake).item() == -1
