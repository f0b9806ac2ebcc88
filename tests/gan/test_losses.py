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
