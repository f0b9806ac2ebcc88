"""Choose which epoch's generator is released, and prepare it."""
