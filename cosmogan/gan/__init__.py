"""The generative adversarial network and its training."""
