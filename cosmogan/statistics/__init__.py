"""Summary statistics of density fields, as batched tensors."""
