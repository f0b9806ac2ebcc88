"""Hold the model: networks, latents, losses, released generators."""
